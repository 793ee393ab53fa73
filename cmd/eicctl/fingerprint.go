package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/fingerprints"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// fingerprintOptions are the flags of eicctl fingerprint.
type fingerprintOptions struct {
	expect    string
	host      bool
	dir, name string
}

func fingerprintCommand() *cobra.Command {
	var o fingerprintOptions
	cmd := &cobra.Command{
		Use:   "fingerprint [FILE...]",
		Short: "Print every fingerprint of a key, and where it is used",
		Long: `Prints every fingerprint of the keys in each FILE, or of standard input if FILE is "-"
or missing, and where each is used. A key may be an OpenSSH line, also from
authorized_keys or known_hosts, RFC 4716, PEM, DER, a private key (required for the
fingerprint of an RSA key pair created by EC2), or one of these in base64, in JSON of
the AWS CLI or Terraform, or inside another file.

Exit status: 0 if every key was read, and with --expect if one matches; 1 if a file
has a key that cannot be read, or none, or if none matches; 2 for a usage error.`,
		Example: `  eicctl fingerprint ~/.ssh/id_ed25519.pub
  eicctl fingerprint --expect 7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5 key.pem
  eicctl fingerprint --host --name db1.example.com >> known_hosts`,
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case o.host && len(files) > 0:
				return errors.New("--host takes no file; it reads the host keys in --dir")
			case !o.host && cmd.Flags().Changed("dir"):
				return errors.New("--dir requires --host")
			case !o.host && cmd.Flags().Changed("name"):
				return errors.New("--name requires --host")
			}
			return o.run(cmd, files)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.expect, "expect", "", "check that a key has this `fingerprint`, in any form")
	flags.BoolVar(&o.host, "host", false, "print this host's keys as known_hosts lines")
	flags.StringVar(&o.dir, "dir", "/etc/ssh", "the `directory` of the host keys")
	flags.StringVar(&o.name, "name", "", "the `name` in the known_hosts lines (default: the host name)")
	addOutput(cmd)
	return cmd
}

// A fingerprintAnswer is what is printed for one file.
type fingerprintAnswer struct {
	*fingerprints.Report
	File       string               `json:"file"`
	KnownHosts string               `json:"known_hosts,omitempty"`
	Matched    *bool                `json:"matched,omitempty"`
	Matches    []fingerprints.Shown `json:"matches,omitempty"`
	Hint       string               `json:"hint,omitempty"`
	Error      string               `json:"error,omitempty"`
}

func (o *fingerprintOptions) run(cmd *cobra.Command, files []string) error {
	var expected *fingerprints.Expected
	if cmd.Flags().Changed("expect") {
		e, err := fingerprints.ParseExpected(o.expect)
		if err != nil {
			return err
		}
		expected = &e
	}
	if o.host {
		var err error
		if files, err = o.hostKeys(); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	var answers []fingerprintAnswer
	failed, matched := false, expected == nil
	for _, file := range files {
		for _, answer := range o.answers(cmd.InOrStdin(), file, expected) {
			failed = failed || answer.Error != ""
			matched = matched || (answer.Matched != nil && *answer.Matched)
			answers = append(answers, answer)
		}
	}
	if err := o.print(cmd, answers); err != nil {
		return err
	}
	if failed || !matched {
		return outcome{code: exitNo}
	}
	return nil
}

// hostKeys returns the files of the host keys and sees to the name.
func (o *fingerprintOptions) hostKeys() ([]string, error) {
	if o.name == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("cannot determine the host name (%v): use --name", err)
		}
		o.name = name
	}
	if err := fingerprints.CheckHostName(o.name); err != nil {
		return nil, err
	}
	files, err := fingerprints.HostKeyFiles(o.dir)
	if err != nil {
		return nil, outcome{code: exitNo, err: err, hint: "ssh-keygen -A creates host keys; --dir sets another directory"}
	}
	return files, nil
}

// answers returns one for each key of a file, and one for what cannot be read.
func (o *fingerprintOptions) answers(stdin io.Reader, file string, expected *fingerprints.Expected) (answers []fingerprintAnswer) {
	var reports []*fingerprints.Report
	var err error
	if file == "-" {
		file = "standard input"
		reports, err = fingerprints.Read(stdin, file)
	} else {
		reports, err = fingerprints.ReadFile(file)
	}
	for _, report := range reports {
		answer := fingerprintAnswer{Report: report, File: file}
		if o.host {
			answer.KnownHosts = o.name + " " + report.Line()
		}
		if expected != nil {
			answer.Matches = expected.Matches(report)
			yes := len(answer.Matches) > 0
			answer.Matched = &yes
			if !yes {
				answer.Hint = expected.Hint(report)
			}
		}
		answers = append(answers, answer)
	}
	if err != nil {
		answers = append(answers, fingerprintAnswer{File: file, Error: err.Error()})
	}
	return answers
}

// fingerprintAnswers is what is printed for all files.
type fingerprintAnswers struct {
	Keys []fingerprintAnswer `json:"keys"`
	host string
}

func (o *fingerprintOptions) print(cmd *cobra.Command, answers []fingerprintAnswer) error {
	if format := outputFormat(cmd); format == output.Table || format == output.CSV {
		for _, a := range answers {
			if a.Error != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: error: %s: %s\n", program, printable(a.File), a.Error)
			}
		}
	}
	return show(cmd, fingerprintAnswers{answers, o.name})
}

// Rows returns the keys.
func (f fingerprintAnswers) Rows() (rows []output.Row) {
	for _, a := range f.Keys {
		rows = append(rows, output.Row{Kind: "key", Value: a})
	}
	return rows
}

// Text returns the keys that were read, for a person; show has reported the others.
func (f fingerprintAnswers) Text() string {
	var b strings.Builder
	for _, a := range f.Keys {
		switch {
		case a.Error != "":
		case a.Matched != nil:
			b.WriteString(a.verdict())
		case a.KnownHosts != "":
			b.WriteString(a.Report.KnownHosts(f.host))
		default:
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			b.WriteString(a.Text())
		}
	}
	return b.String()
}

// verdict says whether the key is the one expected.
func (a fingerprintAnswer) verdict() string {
	if !*a.Matched {
		if a.Hint != "" {
			return fmt.Sprintf("no: %s has none of the fingerprints that can be computed; %s\n", a.place(), a.Hint)
		}
		return fmt.Sprintf("no: %s has another fingerprint\n", a.place())
	}
	var places []string
	for _, m := range a.Matches {
		places = append(places, m.Place)
	}
	return fmt.Sprintf("yes: %s, shown by: %s\n", a.place(), strings.Join(places, "; "))
}

// place names the file, and the line where it has several keys.
func (a fingerprintAnswer) place() string {
	if a.LineNumber > 0 {
		return fmt.Sprintf("%s:%d", printable(a.File), a.LineNumber)
	}
	return printable(a.File)
}
