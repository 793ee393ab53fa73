package output

import (
	"bytes"
	"encoding/json"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A member is one of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members yields those of an object, in their order.
func members(object []byte) iter.Seq2[member, error] {
	return func(yield func(member, error) bool) {
		decoder := json.NewDecoder(bytes.NewReader(object))
		_, err := decoder.Token() // {
		for err == nil && decoder.More() {
			var token json.Token
			if token, err = decoder.Token(); err != nil {
				break
			}
			m := member{}
			m.name, _ = token.(string)
			if err = decoder.Decode(&m.value); err == nil && !yield(m, nil) {
				return
			}
		}
		if err != nil {
			yield(member{}, err)
		}
	}
}

// flatten returns the columns that rows of this type have, whatever this one says, and
// its own cells. A member of a member is a.b; a list is JSON.
func flatten(row Row) (names []string, cells map[string]string, err error) {
	text, err := json.Marshal(row.Value)
	if err != nil {
		return nil, nil, err
	}
	cells = make(map[string]string)
	if err := fill("", text, cells); err != nil {
		return nil, nil, err
	}
	names = columns("", reflect.TypeOf(row.Value))
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.Contains(row.Without, name)
	})
	return names, cells, nil
}

// fill adds the cells of an object, with names that begin with the prefix.
func fill(prefix string, object []byte, cells map[string]string) error {
	for m, err := range members(object) {
		if err != nil {
			return err
		}
		switch name := prefix + m.name; {
		case m.value[0] == '{':
			cells[name] = string(m.value) // of a map
			err = fill(name+".", m.value, cells)
		case m.value[0] == '"':
			var text string
			err = json.Unmarshal(m.value, &text)
			cells[name] = text
		case string(m.value) != "null":
			cells[name] = string(m.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// columns returns the names of a struct's members in JSON, those of structs inside it
// with the name of theirs before them.
func columns(prefix string, typ reflect.Type) (names []string) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	for field := range typ.Fields() {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		isStruct := inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]()
		switch {
		case tag == "-":
		case tag == "" && field.Anonymous && isStruct:
			names = append(names, columns(prefix, inner)...)
		case tag == "" || !field.IsExported():
		case isStruct:
			names = append(names, columns(prefix+tag+".", inner)...)
		default:
			names = append(names, prefix+tag)
		}
	}
	return names
}

// Inert returns a cell that no spreadsheet takes for a formula.
func Inert(cell string) string {
	if strings.IndexAny(cell, "=+-@\t\r＝＋－＠") == 0 {
		return "'" + cell
	}
	return cell
}
