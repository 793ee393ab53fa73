// Package cloudtrail reads CloudTrail records in every shape in which AWS hands them
// out: delivered log files, lookup-events, EventBridge events, CloudWatch Logs (also
// subscription data and Insights), CloudTrail Lake and Athena.
package cloudtrail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/ctl/textfile"
)

const (
	// maxSize bounds a file, unpacked.
	maxSize = 4 << 30
	// maxNested bounds what is packed inside a string.
	maxNested = 64 << 20
	// maxDepth bounds how deep a record may be wrapped. Subscription data in a Kinesis
	// record in a log file is 8 deep.
	maxDepth = 24
)

// Read calls each for every record in file and returns how many there were. A file
// without any is an error that says what it looks like.
func Read(file io.Reader, each func(Record)) (n int, err error) {
	r := &reader{each: each}
	err = r.file(file)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return r.records, errors.New("it ends in the middle of a record")
	case err != nil:
		return r.records, err
	case r.records == 0:
		return 0, errors.New(r.instead())
	}
	return r.records, nil
}

// A reader finds the records in what wraps them.
type reader struct {
	each    func(Record)
	records int

	empty, text, s3, digest bool

	// Of lines that are not JSON as a whole.
	open    strings.Builder // an object that goes on in the next line
	braces  braces          // of open
	encoded strings.Builder // base64 that may go on in the next line
}

// instead says what a file without records is.
func (r *reader) instead() string {
	switch {
	case r.empty:
		return "it is empty"
	case r.digest:
		return "it is a CloudTrail digest file, which holds no records: give the log files that it names"
	case r.s3:
		return "it names S3 objects and holds no CloudTrail record: download the objects with aws s3 cp, and give those files"
	case r.text:
		return "it holds no CloudTrail record, and is neither JSON nor CSV"
	}
	return "it holds no CloudTrail record"
}

// packed are formats that are not read here, by their first bytes, with what to do.
var packed = []struct{ magic, name, do string }{
	{"PK\x03\x04", "a zip archive", extract}, {"7z\xbc\xaf", "a 7-Zip archive", extract},
	{"\x28\xb5\x2f\xfd", "compressed with zstd", decompress}, {"\xfd7zXZ\x00", "compressed with xz", decompress},
	{"BZh", "compressed with bzip2", decompress}, {"\x04\x22\x4d\x18", "compressed with LZ4", decompress},
	{"\xff\x06\x00\x00sNaPpY", "compressed with Snappy", decompress},
	{"PAR1", "a Parquet file", convert}, {"Obj\x01", "an Avro file", convert}, {"ORC", "an ORC file", convert},
}

const (
	extract    = "extract it, and give the files"
	decompress = "decompress it first"
	convert    = "convert it to JSON or CSV first"
)

// maxGzip is how often a file may be compressed: by CloudTrail, and again on its way.
const maxGzip = 3

func (r *reader) file(file io.Reader) error {
	in := bufio.NewReader(file)
	for range maxGzip {
		if magic, _ := in.Peek(2); string(magic) != "\x1f\x8b" {
			break
		}
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReader(unpacked)
	}
	start, _ := in.Peek(512)
	for _, p := range packed {
		if bytes.HasPrefix(start, []byte(p.magic)) {
			return fmt.Errorf("it is %s: %s", p.name, p.do)
		}
	}
	if len(start) == 512 && bytes.HasPrefix(start[257:], []byte("ustar")) {
		return fmt.Errorf("it is a tar archive: %s", extract)
	}
	limited := &io.LimitedReader{R: textfile.Reader(in), N: maxSize + 1}
	err := r.content(bufio.NewReader(limited))
	if limited.N <= 0 {
		return fmt.Errorf("it has more than %d GiB", maxSize>>30)
	}
	return err
}

func (r *reader) content(in *bufio.Reader) error {
	for {
		c, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			r.empty = true
			return nil
		case err != nil:
			return err
		case c == ' ', c == '\t', c == '\r', c == '\n':
			continue
		}
		if err := in.UnreadByte(); err != nil {
			return err
		}
		if c == '{' || c == '[' || c == '"' {
			start, _ := in.Peek(in.Size())
			switch {
			case pythonDict.Match(start):
				return errors.New("it is a Python dict, not JSON: write it with json.dumps(response, default=str)")
			// CSV may be quoted from its first cell on.
			case c != '"' || !quotedCell.Match(start) && !cellWithJSON(start):
				return r.stream(in)
			}
		}
		return r.lines(in)
	}
}

var (
	quotedCell = regexp.MustCompile(`^"[^"\\{]{1,60}"\s*[,;\t]`)
	pythonDict = regexp.MustCompile(`^[\[\s]*\{\s*'`)
)

// stream reads JSON values, one after the other.
func (r *reader) stream(in io.Reader) error {
	decoder := json.NewDecoder(in)
	for {
		token, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return notJSON(err)
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '[' {
				err = r.list(decoder)
			} else {
				err = r.members(decoder)
			}
		case string:
			err = r.inner(token, 0)
		default:
			r.text = true
		}
		if err != nil {
			return notJSON(err)
		}
	}
}

func notJSON(err error) error {
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return fmt.Errorf("it is not JSON from byte %d on: %v", syntax.Offset, err)
	}
	return err
}

// list reads the rest of a list, one element at a time: it may be long.
func (r *reader) list(decoder *json.Decoder) error {
	for decoder.More() {
		var element json.RawMessage
		if err := decoder.Decode(&element); err != nil {
			return unexpected(err)
		}
		if err := r.value(element, 1); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return unexpected(err)
}

// long are the members that hold the records of a file, however many they are.
var long = map[string]bool{"records": true, "events": true, "logevents": true, "queryresultrows": true, "results": true, "contents": true, "hits": true}

// members reads the rest of an object.
func (r *reader) members(decoder *json.Decoder) error {
	object := make(map[string]json.RawMessage)
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return unexpected(err)
		}
		name, _ := key.(string)
		if name = memberName(name); !long[name] {
			var value json.RawMessage
			if err := decoder.Decode(&value); err != nil {
				return unexpected(err)
			}
			object[name] = value
			continue
		}
		switch token, err := decoder.Token(); {
		case err != nil:
			return unexpected(err)
		case token == json.Delim('['):
			err = r.list(decoder)
			if err != nil {
				return err
			}
		case token == json.Delim('{'):
			if err = r.members(decoder); err != nil {
				return err
			}
		}
	}
	if _, err := decoder.Token(); err != nil {
		return unexpected(err)
	}
	return r.object(object, 0)
}

// unexpected is for an end inside a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// value finds the records in a JSON value.
func (r *reader) value(raw json.RawMessage, depth int) error {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if depth > maxDepth || len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '{':
		var object map[string]json.RawMessage
		if err := json.Unmarshal(raw, &object); err != nil {
			return err
		}
		return r.object(lower(object), depth)
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		if row := asRow(list); row != nil {
			return r.object(row, depth)
		}
		for _, element := range list {
			if err := r.value(element, depth+1); err != nil {
				return err
			}
		}
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		return r.inner(text, depth)
	}
	return nil
}

// memberName returns the name of a member or column as a record spells it, in lower
// case: databases have event_name for eventName, and the console "Event name".
func memberName(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", " ", "").Replace(name))
}

func lower(object map[string]json.RawMessage) map[string]json.RawMessage {
	lowered := make(map[string]json.RawMessage, len(object))
	for name, value := range object {
		lowered[memberName(name)] = value
	}
	return lowered
}

// asRow joins the cells of a row of CloudTrail Lake ([{"eventName": "x"}, ...]) or of
// CloudWatch Logs Insights ([{"field": "eventName", "value": "x"}, ...]). It is nil
// where list is something else.
func asRow(list []json.RawMessage) map[string]json.RawMessage {
	row := make(map[string]json.RawMessage, len(list))
	for _, raw := range list {
		var cell map[string]json.RawMessage
		if json.Unmarshal(raw, &cell) != nil {
			return nil
		}
		cell = lower(cell)
		if field, ok := cell["field"]; ok && cell["value"] != nil {
			row[memberName(asText(field))] = cell["value"]
			continue
		}
		if len(cell) != 1 {
			return nil
		}
		for name, value := range cell {
			if value[0] == '{' || value[0] == '[' {
				return nil
			}
			row[name] = value
		}
	}
	if len(row) < 2 {
		return nil
	}
	return row
}

// athena reads the rows that Athena's GetQueryResults returns. The first page begins
// with the names of the columns.
func (r *reader) athena(raw json.RawMessage) error {
	var set struct {
		Rows []struct {
			Data []struct{ VarCharValue *string }
		}
		ResultSetMetadata struct {
			ColumnInfo []struct{ Name string }
		}
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil // another ResultSet
	}
	var names []string
	for _, column := range set.ResultSetMetadata.ColumnInfo {
		names = append(names, memberName(column.Name))
	}
	for i, row := range set.Rows {
		object := make(map[string]json.RawMessage, len(row.Data))
		var cells []string
		for j, cell := range row.Data {
			if cell.VarCharValue == nil {
				continue
			}
			cells = append(cells, memberName(*cell.VarCharValue))
			if j < len(names) {
				object[names[j]] = quoted(*cell.VarCharValue)
			}
		}
		if i == 0 && (names == nil || slices.Equal(cells, names)) {
			names = cells
			continue
		}
		if err := r.object(object, 1); err != nil {
			return err
		}
	}
	return nil
}

// quoted returns text as a JSON string.
func quoted(text string) json.RawMessage {
	raw, _ := json.Marshal(text) // text does not fail
	return raw
}

// inner finds the records in text that is JSON itself, in base64 as Kinesis and
// Firehose have it, or gzip in base64 as subscriptions of CloudWatch Logs have it. Any
// other text is none.
func (r *reader) inner(text string, depth int) error {
	text = strings.TrimSpace(text)
	switch {
	case depth >= maxDepth:
		return nil
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		if !json.Valid([]byte(text)) {
			if strings.Contains(text, `"eventVersion"`) && strings.Contains(text, `"eventSource"`) {
				return errors.New("it has a record that was cut short")
			}
			return nil
		}
		return r.value(json.RawMessage(text), depth+1)
	case strings.HasPrefix(text, `"`) && json.Valid([]byte(text)):
		return r.value(json.RawMessage(text), depth+1)
	case strings.HasPrefix(text, "H4sI"):
		plain, err := unpack(text)
		if err != nil {
			return err
		}
		return r.inner(plain, depth+1)
	case jsonInBase64.MatchString(text):
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
			return r.inner(string(plain), depth+1)
		}
	}
	return nil
}

// jsonInBase64 matches how base64 of {, [ and " begins.
var jsonInBase64 = regexp.MustCompile(`^([eW][w-z0-9+/]|I[g-v])[A-Za-z0-9+/]`)

// object takes a record, or finds those in the members of another object.
func (r *reader) object(object map[string]json.RawMessage, depth int) error {
	if isRecord(object) {
		r.records++
		r.each(newRecord(object))
		return nil
	}
	has := func(names ...string) bool {
		for _, name := range names {
			if object[name] == nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("digests3object"), has("digeststarttime"):
		r.digest = true
		return nil
	case has("key", "etag"), has("key", "size"), has("s3objectkey"), has("s3", "eventname"), has("bucket", "object"):
		r.s3 = true
		return nil
	case has("resultset"):
		return r.athena(object["resultset"])
	}
	for _, value := range object {
		if err := r.value(value, depth+1); err != nil {
			return err
		}
	}
	return nil
}
