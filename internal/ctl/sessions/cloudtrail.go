package sessions

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/ctl/cloudtrail"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
	"github.com/eic-agent/eic-agent/internal/ctl/textfile"
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

// eventSource is the API that pushes keys.
const eventSource = "ec2-instance-connect.amazonaws.com"

// AddTrail adds to every push the CloudTrail record of its request, from a file in any
// of the shapes that package cloudtrail reads. It returns how many were found. A file
// without any CloudTrail record is an error; one without a record of these requests is
// noted in the report.
func (r *Report) AddTrail(path string) (found int, err error) {
	pushes := r.pushesByRequest()
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("cannot read CloudTrail file %.200q: %v", path, textfile.WithoutPath(err))
	}
	defer f.Close()
	ours, requests := 0, 0
	all, err := cloudtrail.Read(f, func(record cloudtrail.Record) {
		if record.RequestID != "" {
			requests++
		}
		// A query may leave the column out; the request ID alone is enough then.
		if record.Source != "" && record.Source != eventSource {
			return
		}
		ours++
		list := pushes[record.RequestID]
		if record.RequestID == "" || len(list) == 0 || record.Error != "" {
			return
		}
		found++
		t := &Trail{
			Time: record.Time, Principal: audit.Clean(record.Principal, maxCaller), SourceIP: text(record.SourceIP),
			UserAgent: text(record.UserAgent), EventName: text(record.Name), EventID: text(record.EventID),
		}
		for _, p := range list {
			p.Trail = t
		}
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("cannot use CloudTrail file %.200q: %v", path, textfile.WithoutPath(err))
	case requests == 0:
		return 0, fmt.Errorf("cannot use CloudTrail file %.200q: its records have no requestID; of lookup-events, keep CloudTrailEvent", path)
	case found == 0 && len(pushes) > 0:
		r.Notes = append(r.Notes, fmt.Sprintf("CloudTrail file %.200q has none of these requests: it has %s, %d of them of %s", path, output.Count(all, "record"), ours, eventSource))
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
	for _, o := range slices.Concat(r.Unused, r.Unknown) {
		add(&o.Push)
	}
	for _, o := range r.Refusals {
		add(&o.Push)
	}
	return pushes
}
