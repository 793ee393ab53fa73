package cloudtrail

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Record has the fields of a CloudTrail record that are used here. Any may be empty:
// a query returns the columns that it names.
type Record struct {
	Time      time.Time
	Principal string // ARN
	Source    string // ec2-instance-connect.amazonaws.com
	Name      string
	SourceIP  string
	UserAgent string
	Error     string
	RequestID string
	EventID   string
}

// isRecord reports whether an object is a record of CloudTrail. What lookup-events
// prints is not: it has the record as text in CloudTrailEvent.
func isRecord(object map[string]json.RawMessage) bool {
	known := 0
	for _, name := range []string{"eventname", "eventsource", "requestid", "eventid", "eventversion", "useridentity"} {
		if object[name] != nil {
			known++
		}
	}
	source := asText(object["eventsource"])
	return known >= 2 && object["cloudtrailevent"] == nil && (asText(object["eventname"]) != "" || asText(object["requestid"]) != "") &&
		(object["eventsource"] == nil || strings.Contains(source, ".amazonaws."))
}

func newRecord(object map[string]json.RawMessage) Record {
	text := func(name string) string { return asText(object[name]) }
	return Record{
		Time: asTime(text("eventtime")), Principal: principal(object), Source: text("eventsource"), Name: text("eventname"),
		SourceIP: text("sourceipaddress"), UserAgent: text("useragent"), Error: text("errorcode"),
		RequestID: text("requestid"), EventID: text("eventid"),
	}
}

// asText returns a JSON string or number as text; of anything else, "".
func asText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

// arnInStruct finds the ARN in userIdentity as CloudTrail Lake and Athena print it:
// {type=AssumedRole, principalId=..., arn=arn:aws:sts::..., ...}.
var arnInStruct = regexp.MustCompile(`(?:^|[{,\s])arn[=:]\s*"?(arn:[^,}\s"]+)`)

func principal(object map[string]json.RawMessage) string {
	var identity struct {
		ARN string `json:"arn"`
	}
	if json.Unmarshal(object["useridentity"], &identity) == nil && identity.ARN != "" {
		return identity.ARN
	}
	text := asText(object["useridentity"])
	if json.Unmarshal([]byte(text), &identity) == nil && identity.ARN != "" {
		return identity.ARN
	}
	if found := arnInStruct.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	for _, name := range []string{"useridentity.arn", "useridentity_arn", "useridentityarn", "arn"} {
		if arn := asText(object[name]); arn != "" {
			return arn
		}
	}
	return ""
}

// asTime reads the time of a record, of a row of a query, or Unix seconds or
// milliseconds. Another text is the zero time.
func asTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05.999"} {
		if t, err := time.Parse(layout, text); err == nil && 0 <= t.UTC().Year() && t.UTC().Year() <= 9999 {
			return t.UTC()
		}
	}
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || seconds <= 0 || seconds > 1e14:
		return time.Time{}
	case seconds > 1e11:
		return time.UnixMilli(int64(seconds)).UTC()
	}
	return time.Unix(int64(seconds), 0).UTC()
}
