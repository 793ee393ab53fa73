package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// addOutput gives a command --output, with more formats than the usual ones, and --json.
func addOutput(cmd *cobra.Command, more ...string) {
	flags := cmd.Flags()
	formats := append(output.Formats(), more...)
	flags.StringP("output", "o", output.Table, "output `format`: "+strings.Join(formats, ", "))
	flags.Bool("json", false, "the same as --output json")
	_ = flags.SetAnnotation("output", formatsAnnotation, formats)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// formatsAnnotation is the annotation of --output with the formats of the command.
const formatsAnnotation = "formats"

// checkOutput says what is wrong with the output flags of a command that has them.
func checkOutput(cmd *cobra.Command) error {
	flag := cmd.Flags().Lookup("output")
	if flag == nil {
		return nil
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON && flag.Changed && flag.Value.String() != output.JSON {
		return errors.New("--json and --output cannot be combined")
	}
	if formats := flag.Annotations[formatsAnnotation]; !slices.Contains(formats, flag.Value.String()) {
		return fmt.Errorf("--output must be one of %s, not %.64q", strings.Join(formats, ", "), flag.Value.String())
	}
	return nil
}

// outputFormat is the format that a command was asked for.
func outputFormat(cmd *cobra.Command) string {
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return output.JSON
	}
	format, _ := cmd.Flags().GetString("output")
	return format
}

// A noAnswer is what is printed as JSON where there is no answer.
type noAnswer struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// An answer is standard output, and whether anything was written to it.
type answer struct {
	w     io.Writer
	begun bool
}

func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.w.Write(p)
}

// write prints text in one piece; a failure is an outcome.
func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return unwritten(err)
}

// unwritten is the outcome of an answer that cannot be written.
func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return outcome{code: exitUnknown, err: fmt.Errorf("cannot write the output: %v", err)}
}

// show prints an answer in the format that was asked for.
func show(cmd *cobra.Command, answer output.Answer) error {
	text, err := output.Text(answer, outputFormat(cmd))
	if err != nil {
		return outcome{code: exitUnknown, err: err}
	}
	return write(cmd.OutOrStdout(), text)
}

// showError prints an error as JSON, where that was asked for.
func showError(w io.Writer, cmd *cobra.Command, e noAnswer) {
	text := ""
	switch outputFormat(cmd) {
	case output.JSON:
		text, _ = output.Document(e)
	case output.Lines:
		text, _ = output.Line(output.Row{Kind: "error", Value: e})
	}
	_ = write(w, text)
}
