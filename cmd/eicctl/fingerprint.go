package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/fingerprints"
)

// fingerprintOptions are the flags of eicctl fingerprint.
type fingerprintOptions struct {
	expect    string
	host      bool
	dir, name string
	json      bool
}

func fingerprintCommand() *cobra.Command {
	var o fingerprintOptions
	cmd := &cobra.Command{
		Use:   "fingerprint [FILE...]",
		Short: "Every fingerprint of a key, and where it is shown",
		Long: `Prints every fingerprint of the key in each FILE, or on standard input where there
is none or it is "-", each with the place where it is shown. A key may be an
OpenSSH line, also one of authorized_keys or known_hosts, RFC 4716, PEM, DER in
base64, an OpenSSH line in base64, or a private key, which alone tells the
fingerprint of an RSA pair that EC2 made.

Exit status: 0 if all is answered, and with --expect if a key matches; 1 if a file
has no key that can be read, or none matches; 2 if it was called in a wrong way.`,
		Example: `  eicctl fingerprint ~/.ssh/id_ed25519.pub
  eicctl fingerprint --expect 7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5 key.pem
  eicctl fingerprint --host --name db1.example.com >> known_hosts`,
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case o.host && len(files) > 0:
				return errors.New("--host takes no file: it reads the host keys in --dir")
			case !o.host && cmd.Flags().Changed("dir"):
				return errors.New("--dir is for --host")
			case !o.host && cmd.Flags().Changed("name"):
				return errors.New("--name is for --host")
			}
			return o.run(cmd, files)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.expect, "expect", "", "say whether the key has this `fingerprint`, in whatever form")
	flags.BoolVar(&o.host, "host", false, "print this host's keys as known_hosts lines")
	flags.StringVar(&o.dir, "dir", "/etc/ssh", "the `directory` of the host keys")
	flags.StringVar(&o.name, "name", "", "the `name` in the known_hosts lines (default: the host name)")
	flags.BoolVar(&o.json, "json", false, "print JSON")
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
		answer := o.answer(cmd.InOrStdin(), file, expected)
		failed = failed || answer.Error != ""
		matched = matched || (answer.Matched != nil && *answer.Matched)
		answers = append(answers, answer)
	}
	if err := o.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), answers); err != nil {
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
			return nil, fmt.Errorf("the host name is not known (%v): give --name", err)
		}
		o.name = name
	}
	if err := fingerprints.CheckHostName(o.name); err != nil {
		return nil, err
	}
	files, err := fingerprints.HostKeyFiles(o.dir)
	if err != nil {
		return nil, outcome{code: exitNo, err: err, hint: "ssh-keygen -A makes host keys; --dir names another directory"}
	}
	return files, nil
}

func (o *fingerprintOptions) answer(stdin io.Reader, file string, expected *fingerprints.Expected) fingerprintAnswer {
	var report *fingerprints.Report
	var err error
	if file == "-" {
		file = "standard input"
		report, err = fingerprints.Read(stdin, file)
	} else {
		report, err = fingerprints.ReadFile(file)
	}
	answer := fingerprintAnswer{Report: report, File: file}
	if err != nil {
		answer.Error = err.Error()
		return answer
	}
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
	return answer
}

func (o *fingerprintOptions) print(stdout, stderr io.Writer, answers []fingerprintAnswer) error {
	if o.json {
		return writeJSON(stdout, answers)
	}
	var b strings.Builder
	for i, a := range answers {
		switch {
		case a.Error != "":
			fmt.Fprintf(stderr, "%s: error: %s: %s\n", program, printable(a.File), a.Error)
		case a.Matched != nil:
			b.WriteString(a.verdict())
		case o.host:
			b.WriteString(a.Report.KnownHosts(o.name))
		default:
			if i > 0 && b.Len() > 0 {
				b.WriteString("\n")
			}
			b.WriteString(a.Text())
		}
	}
	return write(stdout, b.String())
}

// verdict says whether the key is the one expected.
func (a fingerprintAnswer) verdict() string {
	if !*a.Matched {
		if a.Hint != "" {
			return fmt.Sprintf("no: %s has no such fingerprint that can be told; %s\n", printable(a.File), a.Hint)
		}
		return fmt.Sprintf("no: %s has another fingerprint\n", printable(a.File))
	}
	var places []string
	for _, m := range a.Matches {
		places = append(places, m.Place)
	}
	return fmt.Sprintf("yes: %s, as shown by: %s\n", printable(a.File), strings.Join(places, "; "))
}
