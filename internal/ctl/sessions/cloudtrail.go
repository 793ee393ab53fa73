package sessions

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
)

// A Trail is what CloudTrail recorded of a call.
type Trail struct {
	Time      time.Time `json:"time"`
	Principal string    `json:"principal"`
	SourceIP  string    `json:"source_ip"`
	UserAgent string    `json:"user_agent"`
	EventName string    `json:"event_name"`
	EventID   string    `json:"event_id"`
}

// maxTrail bounds a trail that is read, unpacked.
const maxTrail = 4 << 30

// A trailEvent has the fields of a CloudTrail record that are wanted. Those of
// lookup-events have the record as text in a field.
type trailEvent struct {
	Identity struct {
		ARN string `json:"arn"`
	} `json:"userIdentity"`
	Time      any    `json:"eventTime"` // text; of lookup-events in version 1 of the AWS CLI, whose fields fit too, a number
	Source    string `json:"eventSource"`
	Name      string `json:"eventName"`
	SourceIP  string `json:"sourceIPAddress"`
	UserAgent string `json:"userAgent"`
	Error     string `json:"errorCode"`
	RequestID string `json:"requestID"`
	EventID   string `json:"eventID"`

	LookedUp string `json:"CloudTrailEvent"`
}

// AddTrail adds to every push what the trail in the file has of it. The file is one
// that CloudTrail delivers ({"Records": [...]}), what `aws cloudtrail
// lookup-events` prints ({"Events": [...]}), or a record a line; each may be
// compressed with gzip. It returns how many calls were found.
func (r *Report) AddTrail(path string) (found int, err error) {
	pushes := r.pushesByRequest()
	f, err := os.Open(path)
	if err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return 0, fmt.Errorf("the trail %.200q cannot be read: %v", path, err)
	}
	defer f.Close()
	err = readTrail(f, func(e *trailEvent) {
		list := pushes[e.RequestID]
		if e.RequestID == "" || len(list) == 0 || e.Error != "" || e.Source != "ec2-instance-connect.amazonaws.com" {
			return
		}
		found++
		t := &Trail{
			Principal: audit.Clean(e.Identity.ARN, maxCaller), SourceIP: text(e.SourceIP), UserAgent: text(e.UserAgent),
			EventName: text(e.Name), EventID: text(e.EventID),
		}
		at, _ := e.Time.(string)
		t.Time, _ = journal.ParseRFC3339(at)
		for _, p := range list {
			p.Trail = t
		}
	})
	if err != nil {
		return 0, fmt.Errorf("%.200q is not a trail of CloudTrail: %v", path, err)
	}
	if found == 0 && len(pushes) > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("the trail %.200q has none of these requests", path))
	}
	return found, nil
}

func (r *Report) pushesByRequest() map[string][]*Push {
	pushes := make(map[string][]*Push)
	add := func(p *Push) {
		if p.Request != "" {
			pushes[p.Request] = append(pushes[p.Request], p)
		}
	}
	for _, s := range r.Sessions {
		add(&s.Push)
		for i := range s.Pushes {
			add(&s.Pushes[i])
		}
	}
	for _, o := range r.Unused {
		add(&o.Push)
	}
	for _, o := range r.Refusals {
		add(&o.Push)
	}
	return pushes
}

// readTrail hands every event to each.
func readTrail(file io.Reader, each func(*trailEvent)) error {
	in := bufio.NewReader(file)
	var plain io.Reader = in
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		plain = unpacked
	}
	limited := &io.LimitedReader{R: plain, N: maxTrail + 1}
	decoder := json.NewDecoder(limited)
	for {
		err := readValue(decoder, each)
		switch {
		case limited.N <= 0:
			return fmt.Errorf("it has more than %d GiB", maxTrail>>30)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// readValue reads a record, or an object or a list that holds records.
func readValue(decoder *json.Decoder, each func(*trailEvent)) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('['):
		return readList(decoder, each)
	case json.Delim('{'):
	default:
		return errors.New("it is not made of JSON objects")
	}
	// The keys of a record are put together again, since what an object is
	// shows only by them.
	record := make(map[string]json.RawMessage)
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return unexpected(err)
		}
		name, _ := key.(string)
		if name == "Records" || name == "Events" {
			if token, err = decoder.Token(); err != nil || token != json.Delim('[') {
				return fmt.Errorf("%s is not a list", name)
			}
			if err := readList(decoder, each); err != nil {
				return err
			}
			continue
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return unexpected(err)
		}
		record[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return unexpected(err)
	}
	if record["eventName"] == nil && record["CloudTrailEvent"] == nil {
		return nil
	}
	whole, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return readEvent(whole, each)
}

// readList reads the rest of a list of records.
func readList(decoder *json.Decoder, each func(*trailEvent)) error {
	for decoder.More() {
		var whole json.RawMessage
		if err := decoder.Decode(&whole); err != nil {
			return unexpected(err)
		}
		if err := readEvent(whole, each); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return unexpected(err)
}

func readEvent(whole []byte, each func(*trailEvent)) error {
	var e trailEvent
	if err := json.Unmarshal(whole, &e); err != nil {
		return err
	}
	if e.LookedUp != "" {
		var inner trailEvent
		if err := json.Unmarshal([]byte(e.LookedUp), &inner); err != nil {
			return err
		}
		e = inner
	}
	each(&e)
	return nil
}

// unexpected is for an end within a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
