package output

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

type place struct {
	Host string `json:"host"`
}

type row struct {
	place
	Time   time.Time      `json:"time"`
	End    *time.Time     `json:"end,omitempty"`
	Name   string         `json:"name,omitempty"`
	Count  int            `json:"count"`
	Fault  *fault         `json:"fault,omitempty"`
	List   []string       `json:"list,omitempty"`
	Counts map[string]int `json:"counts,omitempty"`
	Hidden string         `json:"-"`
	inside string
}

type fault struct {
	Reason string `json:"reason"`
}

type answer struct {
	User string `json:"user"`
	List []row  `json:"rows"`
}

func (a answer) Text() string { return "for people\n" }

func (a answer) Rows() []Row {
	var rows []Row
	for _, r := range a.List {
		rows = append(rows, Row{Kind: "row", Value: r})
	}
	return append(rows, Row{Kind: Summary, Value: a, Without: []string{"rows"}})
}

var example = answer{"alice", []row{
	{place: place{"h"}, Time: time.Unix(0, 0).UTC(), Name: `=a "b"`, Count: 2, List: []string{"x", "y"}, Counts: map[string]int{"k": 1}, Hidden: "no", inside: "no"},
	{place: place{"i"}, Time: time.Unix(1, 0).UTC(), Fault: &fault{"expired\n"}},
}}

func TestFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		Table: "for people\n",
		Lines: `{"schema":1,"kind":"row","host":"h","time":"1970-01-01T00:00:00Z","name":"=a \"b\"","count":2,"list":["x","y"],"counts":{"k":1}}
{"schema":1,"kind":"row","host":"i","time":"1970-01-01T00:00:01Z","count":0,"fault":{"reason":"expired\n"}}
{"schema":1,"kind":"summary","user":"alice"}
`,
		CSV: `kind,host,time,end,name,count,fault.reason,list,counts
row,h,1970-01-01T00:00:00Z,,"'=a ""b""",2,,"[""x"",""y""]","{""k"":1}"
row,i,1970-01-01T00:00:01Z,,,0,"expired
",,
`,
	} {
		if got, err := Text(example, format); err != nil || got != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", format, err, got, want)
		}
	}
	text, err := Text(example, JSON)
	if err != nil || !strings.HasPrefix(text, "{\n  \"schema\": 1,\n  \"user\": \"alice\",\n") {
		t.Errorf("%v: %s", err, text)
	}
	var back answer
	if err := json.Unmarshal([]byte(text), &back); err != nil || len(back.List) != 2 || back.List[0].Name != example.List[0].Name {
		t.Errorf("%v: %+v", err, back)
	}
}

// No rows are a header without lines, and a document that has its schema.
func TestEmpty(t *testing.T) {
	t.Parallel()
	if got, err := Text(answer{}, CSV); err != nil || got != "kind\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Document(struct{}{}); err != nil || got != "{\n  \"schema\": 1\n}\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Document([]int{1}); err == nil {
		t.Error("a list is a document")
	}
}

func TestInert(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{"": "", "a=b": "a=b", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\tx": "'\tx", "＝1": "'＝1"} {
		if got := Inert(cell); got != want {
			t.Errorf("%q is %q", cell, got)
		}
	}
	r := csv.NewReader(strings.NewReader("'=1\n"))
	if _, err := r.Read(); err != nil {
		t.Error(err)
	}
}
