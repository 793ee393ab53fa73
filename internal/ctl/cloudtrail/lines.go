package cloudtrail

import (
	"bufio"
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

// lines reads what is not JSON as a whole: CSV, subscription data in base64, or lines
// that have a record behind other columns, as `aws logs tail` prints them.
func (r *reader) lines(in *bufio.Reader) error {
	start, _ := in.Peek(in.Size())
	first, _, _ := strings.Cut(string(start), "\n")
	if header, separator := csvHeader(first); header {
		return r.table(in, separator)
	}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		if err := r.line(strings.TrimSpace(scanner.Text())); err != nil {
			return err
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("it is not JSON, and has a line of more than %d MiB", maxLine>>20)
	}
	return scanner.Err()
}

// s3Names are names of objects as `aws s3 ls` and inventories list them.
var s3Names = regexp.MustCompile(`AWSLogs/|s3://|\.json\.gz\b`)

func (r *reader) line(line string) error {
	r.text = r.text || line != ""
	if strings.HasPrefix(line, "H4sI") {
		return r.inner(line, 0)
	}
	begin := strings.IndexByte(line, '{')
	if begin < 0 {
		r.s3 = r.s3 || s3Names.MatchString(line)
		return nil
	}
	// Other columns may follow.
	var object json.RawMessage
	switch err := json.NewDecoder(strings.NewReader(line[begin:])).Decode(&object); {
	case err == nil:
		return r.value(object, 0)
	case strings.Contains(line, `"eventVersion"`):
		return errors.New("it has a record that was cut short")
	}
	return nil
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

// column returns the name of a column as a record spells it, in lower case: the
// console has "Event name" for eventName.
func column(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "\"", "", "\r", "").Replace(name))
}

// table reads CSV, as queries of CloudTrail Lake, Athena and Insights export it.
func (r *reader) table(in io.Reader, separator rune) error {
	rows := csv.NewReader(in)
	rows.Comma = separator
	rows.LazyQuotes = true
	header, err := rows.Read()
	if err != nil {
		return err
	}
	for i := range header {
		header[i] = column(header[i])
	}
	for {
		fields, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("it is not CSV: %v", err)
		}
		object := make(map[string]json.RawMessage, len(fields))
		for i, field := range fields {
			if field == "" {
				continue
			}
			if object[header[i]], err = json.Marshal(field); err != nil {
				return err
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
