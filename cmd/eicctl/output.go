package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// A noAnswer is what is printed as JSON where there is no answer.
type noAnswer struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// wantsJSON reports whether a command was told to print JSON.
func wantsJSON(cmd *cobra.Command) bool {
	asJSON, _ := cmd.Flags().GetBool("json")
	output, _ := cmd.Flags().GetString("output")
	return asJSON || output == "json"
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
	if _, err := io.WriteString(w, text); err != nil {
		return outcome{code: exitUnknown, err: fmt.Errorf("the answer could not be written: %v", err)}
	}
	return nil
}

// show prints an answer for a person or, as JSON, for a program.
func show(w io.Writer, answer interface{ Text() string }, asJSON bool) error {
	if asJSON {
		return writeJSON(w, answer)
	}
	return write(w, answer.Text())
}

func writeJSON(w io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return outcome{code: exitUnknown, err: err}
	}
	return write(w, string(text)+"\n")
}
