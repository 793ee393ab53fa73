package cloudtrail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxLine bounds a line; a record has at most 256 KiB.
const maxLine = 4 << 20

// lines reads what is not JSON as a whole: CSV, data in base64, or lines that have a
// record behind other columns, as `aws logs tail` prints them.
func (r *reader) lines(in *bufio.Reader) error {
	start, _ := in.Peek(in.Size())
	if bytes.IndexByte(start, '\n') < 0 && bytes.IndexByte(start, '\r') >= 0 {
		in = bufio.NewReader(&onlyCR{in})
		start, _ = in.Peek(in.Size())
	}
	first, rest, _ := strings.Cut(string(start), "\n")
	if separator, ok := strings.CutPrefix(strings.TrimSpace(first), "sep="); ok && len(separator) == 1 { // Excel's
		_, _ = in.ReadString('\n')
		first, _, _ = strings.Cut(rest, "\n")
	}
	if header, separator := csvHeader(first); header {
		return r.table(in, separator, true)
	}
	if cellWithJSON(start) {
		return r.table(in, separatorOf(start), false)
	}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		if err := r.line(strings.TrimSpace(scanner.Text())); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(scanner.Err(), bufio.ErrTooLong):
		return fmt.Errorf("it is not JSON, and has a line of more than %d MiB", maxLine>>20)
	case scanner.Err() != nil:
		return scanner.Err()
	case strings.Contains(r.open.String(), "eventVersion"):
		return errCutShort
	}
	return r.decode()
}

// onlyCR turns the line ends of text that has only CR into LF.
type onlyCR struct{ in io.Reader }

func (r *onlyCR) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	for i := range p[:n] {
		if p[i] == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

var errCutShort = errors.New("it has a record that was cut short")

var (
	// s3Names are names of objects as `aws s3 ls` and inventories list them.
	s3Names     = regexp.MustCompile(`AWSLogs/|s3://|\.json\.gz\b`)
	base64Line  = regexp.MustCompile(`^[A-Za-z0-9+/]+={0,2}$`)
	base64Begin = regexp.MustCompile(`^(H4sI|eyJ|W3s)`)
)

func (r *reader) line(line string) error {
	r.text = r.text || line != ""
	if r.open.Len() == 0 && base64Line.MatchString(line) && (r.encoded.Len() > 0 || base64Begin.MatchString(line) || jsonInBase64.MatchString(line)) {
		if base64Begin.MatchString(line) {
			if err := r.decode(); err != nil {
				return err
			}
		}
		if r.encoded.WriteString(line); r.encoded.Len() <= maxNested {
			return nil
		}
	}
	if err := r.decode(); err != nil {
		return err
	}
	if r.open.Len() > 0 && holdsRecord(line) {
		// What was open never ends.
		if strings.Contains(r.open.String(), "eventVersion") {
			return errCutShort
		}
		r.open.Reset()
	}
	for {
		if r.open.Len() == 0 {
			begin := strings.IndexByte(line, '{')
			if begin < 0 {
				r.s3 = r.s3 || s3Names.MatchString(line)
				return nil
			}
			if rest, err := r.escaped(line, begin); err != nil {
				return err
			} else if rest != line {
				line = rest
				continue
			}
			line, r.braces = line[begin:], braces{}
		} else {
			line = " " + line // YAML folds at a blank
		}
		end := r.braces.end(line)
		if end < 0 {
			r.open.WriteString(line)
			if r.open.Len() > maxNested {
				r.open.Reset()
			}
			return nil
		}
		r.open.WriteString(line[:end])
		object := r.open.String()
		r.open.Reset()
		line = line[end:]
		version := strings.Index(object, `"eventVersion"`)
		switch {
		case json.Valid([]byte(object)):
			if err := r.value(json.RawMessage(object), 0); err != nil {
				return err
			}
		case version >= 0:
			// The first brace may have been another program's.
			begin := strings.LastIndexByte(object[:version], '{')
			if begin <= 0 {
				return errCutShort
			}
			line = object[begin:] + line
		}
	}
}

// escaped finds the records in a JSON string that is around a brace, and returns what is
// behind it; without one, the line.
func (r *reader) escaped(line string, brace int) (rest string, err error) {
	if !strings.HasPrefix(line[brace+1:], `\`) {
		return line, nil
	}
	for begin := brace - 1; begin >= 0; begin-- {
		if line[begin] != '"' || begin > 0 && line[begin-1] == '\\' {
			continue
		}
		decoder := json.NewDecoder(strings.NewReader(line[begin:]))
		var text string
		if decoder.Decode(&text) != nil {
			return line, nil
		}
		return line[begin+int(decoder.InputOffset()):], r.inner(text, 0)
	}
	return line, nil
}

// decode reads the base64 that has come to its end.
func (r *reader) decode() error {
	text := r.encoded.String()
	r.encoded.Reset()
	return r.inner(text, 0)
}

// holdsRecord reports whether a line has a whole record.
func holdsRecord(line string) bool {
	begin := strings.IndexByte(line, '{')
	if begin < 0 || !strings.Contains(line, `"eventVersion"`) {
		return false
	}
	end := new(braces).end(line[begin:])
	return end >= 0 && json.Valid([]byte(line[begin:begin+end]))
}

// braces finds the end of a JSON object that may go on over several lines.
type braces struct {
	depth             int
	inString, escaped bool
}

// end returns the index behind the brace that ends the object, or -1 where it goes on
// behind text.
func (b *braces) end(text string) int {
	for i := range len(text) {
		switch c := text[i]; {
		case b.escaped:
			b.escaped = false
		case b.inString && c == '\\':
			b.escaped = true
		case c == '"':
			b.inString = !b.inString
		case b.inString:
		case c == '{':
			b.depth++
		case c == '}':
			if b.depth--; b.depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// cellWithJSON reports whether text is CSV with JSON in a cell, where quotes are
// doubled.
func cellWithJSON(text []byte) bool { return jsonCell.Match(text) }

var (
	jsonCell    = regexp.MustCompile(`(?m)(?:^|([,;\t]))"[\[{][\[{\s]*""`)
	jsonCellEnd = regexp.MustCompile(`[\]}]"([,;\t])`)
)

// separatorOf returns what is before or behind a cell with JSON.
func separatorOf(text []byte) rune {
	for _, cell := range []*regexp.Regexp{jsonCell, jsonCellEnd} {
		if found := cell.FindSubmatch(text); found != nil && len(found[1]) > 0 {
			return rune(found[1][0])
		}
	}
	return ','
}

// csvHeader reports whether a line is the header of a table of records.
func csvHeader(line string) (ok bool, separator rune) {
	for _, separator := range []rune{',', ';', '\t'} {
		known := 0
		for name := range strings.SplitSeq(line, string(separator)) {
			switch column(name) {
			case "eventname", "eventsource", "requestid", "eventid", "eventtime", "useridentity":
				known++
			case "@message", "message", "cloudtrailevent":
				known += 2
			}
		}
		if known >= 2 {
			return true, separator
		}
	}
	return false, 0
}

// column returns the name of a column as a record spells it, in lower case.
func column(name string) string {
	return memberName(strings.NewReplacer("\"", "", "\r", "").Replace(name))
}

// table reads CSV, as queries of CloudTrail Lake, Athena and Insights export it.
// Without a header any row may be one, and records are whole in a cell.
func (r *reader) table(in io.Reader, separator rune, header bool) error {
	rows := csv.NewReader(in)
	rows.Comma = separator
	rows.LazyQuotes = true
	if !header {
		rows.FieldsPerRecord = -1
	}
	var names []string
	for {
		fields, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("it is not CSV: %v", err)
		case header && names == nil:
			for _, field := range fields {
				names = append(names, column(field))
			}
			continue
		}
		object := make(map[string]json.RawMessage, len(fields))
		for i, field := range fields {
			switch {
			case field == "":
			case header:
				object[names[i]] = quoted(field)
			default:
				if err := r.inner(field, 0); err != nil {
					return err
				}
			}
		}
		if err := r.object(object, 0); err != nil {
			return err
		}
	}
}

// unpack returns what gzip in base64 holds.
func unpack(text string) (string, error) {
	packed, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text)))
	if err != nil {
		return "", fmt.Errorf("its subscription data is broken: %v", err)
	}
	plain, err := io.ReadAll(io.LimitReader(packed, maxNested+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("its subscription data is broken: %v", err)
	case len(plain) > maxNested:
		return "", fmt.Errorf("its subscription data has more than %d MiB", maxNested>>20)
	}
	return string(plain), nil
}
