// Package output prints the answers of eicctl: for people, as one JSON document, as
// JSON lines, or as CSV.
package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Schema is the version of the members of every JSON document and line.
const Schema = 1

// The formats.
const (
	Table = "table"
	JSON  = "json"
	Lines = "jsonl"
	CSV   = "csv"
	// OCSF is a format of sessions alone: events of the Open Cybersecurity Schema
	// Framework, one a line.
	OCSF = "ocsf"
)

// Formats returns the formats of every answer, the default first.
func Formats() []string { return []string{Table, JSON, Lines, CSV} }

// An Answer is what a command prints. As JSON it is one object.
type Answer interface {
	Text() string
	// Rows returns what JSON lines and CSV have a line for. All of one kind have one
	// type.
	Rows() []Row
}

// A Row is one line. Its value is a struct or a pointer to one.
type Row struct {
	Kind  string
	Value any
	// Without names members that are left out, since other rows have them.
	Without []string
}

// Summary is the kind of the row with what holds for the answer as a whole. CSV has
// no line for it.
const Summary = "summary"

// Text returns the answer in a format, to be written in one piece.
func Text(answer Answer, format string) (string, error) {
	switch format {
	case JSON:
		return Document(answer)
	case Lines:
		return lines(answer.Rows())
	case CSV:
		return table(answer.Rows())
	}
	return answer.Text(), nil
}

// Count writes n of what has a plural in s: "1 session", "2 sessions".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Document returns a value as one indented JSON object.
func Document(value any) (string, error) {
	object, err := marshal(Row{Value: value})
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, object, "", "  "); err != nil {
		return "", err
	}
	return b.String() + "\n", nil
}

// Line returns a row as one line of JSON.
func Line(row Row) (string, error) {
	object, err := marshal(row)
	return string(object) + "\n", err
}

func lines(rows []Row) (string, error) {
	var b bytes.Buffer
	for _, row := range rows {
		line, err := Line(row)
		if err != nil {
			return "", err
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

// marshal returns a row as an object that begins with schema and kind.
func marshal(row Row) ([]byte, error) {
	text, err := json.Marshal(row.Value)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, fmt.Errorf("%T is not a JSON object", row.Value)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"schema":%d`, Schema)
	if row.Kind != "" {
		fmt.Fprintf(&b, `,"kind":%q`, row.Kind)
	}
	if len(row.Without) == 0 {
		if len(text) > len("{}") {
			b.WriteByte(',')
		}
		b.Write(text[1:])
		return b.Bytes(), nil
	}
	for member, err := range members(text) {
		if err != nil {
			return nil, err
		}
		if !slices.Contains(row.Without, member.name) {
			fmt.Fprintf(&b, ",%q:%s", member.name, member.value)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// table returns rows as CSV, with a column for each member that one of them may have.
func table(rows []Row) (string, error) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(row Row) bool { return row.Kind == Summary })
	columns := []string{"kind"}
	cells := make([]map[string]string, 0, len(rows))
	for _, row := range rows {
		names, values, err := flatten(row)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
		values["kind"] = row.Kind
		cells = append(cells, values)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write(columns)
	for _, values := range cells {
		line := make([]string, 0, len(columns))
		for _, column := range columns {
			line = append(line, Inert(values[column]))
		}
		err = errors.Join(err, w.Write(line))
	}
	w.Flush()
	return b.String(), errors.Join(err, w.Error())
}
