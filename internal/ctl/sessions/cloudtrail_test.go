package sessions

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func trailRecord(request, more string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":%q},"eventTime":"2026-03-01T12:00:00Z","eventSource":"ec2-instance-connect.amazonaws.com",`+
		`"eventName":"SendSSHPublicKey","sourceIPAddress":"192.0.2.1","userAgent":"aws-cli","requestParameters":{"osUser":"ubuntu","SSHKey":{"publicKey":"x"}},%s"requestID":%q,"eventID":"e-%s"}`, alice, more, request, request)
}

func addTrail(t *testing.T, text []byte) (*Report, int, error) {
	t.Helper()
	w := newTape(t)
	w.provided(100, keyA, "r1", alice)
	w.provided(100, keyA, "r2", bob)
	w.accepted(100, keyA)
	w.provided(101, keyB, "r3", alice)
	w.write("eic-authkeys", 7, agentUID, "EIC_EVENT", "record-refused", "EIC_REASON", "expired", "EIC_USER", "ubuntu", "EIC_REQUEST_ID", "r4")
	r := w.report(Options{})
	path := filepath.Join(t.TempDir(), "trail")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := r.AddTrail(path)
	return r, found, err
}

func TestTrail(t *testing.T) {
	t.Parallel()
	var list []string
	for _, request := range []string{"r0", "r1", "r2", "r3", "r4", ""} {
		list = append(list, trailRecord(request, ""))
	}
	var events []string
	for _, record := range list {
		quoted, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, `{"EventId":"x","EventName":"y","EventTime":1772366400.0,"CloudTrailEvent":`+string(quoted)+`}`)
	}
	records := []byte(`{"Records":[` + strings.Join(list, ",") + `]}`)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(records)
	z.Close()
	for name, text := range map[string][]byte{
		"delivered":            records,
		"delivered and packed": packed.Bytes(),
		"two deliveries":       append(append([]byte(nil), records...), []byte("\n{\"Records\":[]}")...),
		"lines":                []byte(strings.Join(list, "\n") + "\n"),
		"a list":               []byte("[" + strings.Join(list, ",") + "]"),
		"looked up, lines":     []byte(strings.Join(events, "\n")),
		"looked up":            []byte(`{"NextToken":"x","Events":[` + strings.Join(events, ",") + `]}`),
	} {
		r, found, err := addTrail(t, text)
		if err != nil || found != 4 || len(r.Notes) > 0 {
			t.Errorf("%s: found %d, %v", name, found, err)
			continue
		}
		for request, trail := range map[string]*Trail{"r1": r.Sessions[0].Pushes[0].Trail, "r2": r.Sessions[0].Pushes[1].Trail, "r3": r.Unused[0].Trail, "r4": r.Refusals[0].Trail} {
			if trail == nil || trail.EventID != "e-"+request || trail.Principal != alice || trail.SourceIP != "192.0.2.1" || trail.UserAgent != "aws-cli" || trail.EventName != "SendSSHPublicKey" || trail.Time.IsZero() {
				t.Errorf("%s: %s has %+v", name, request, trail)
			}
		}
	}
	for name, record := range map[string]string{
		"refused":        trailRecord("r1", `"errorCode":"AccessDenied",`),
		"another source": strings.ReplaceAll(trailRecord("r1", ""), "ec2-instance-connect", "lightsail"),
	} {
		if r, found, err := addTrail(t, []byte(record)); err != nil || found != 0 || r.Sessions[0].Pushes[0].Trail != nil || len(r.Notes) != 1 || !strings.HasSuffix(r.Notes[0], "has none of these requests") {
			t.Errorf("%s: found %d, %v", name, found, err)
		}
	}
	for name, text := range map[string]string{
		"empty": "",
	} {
		if _, found, err := addTrail(t, []byte(text)); err != nil || found != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"cut off":        string(records[:len(records)-10]),
		"cut off packed": packed.String()[:packed.Len()-10],
		"not JSON":       "time,principal\n",
		"not objects":    "1 2 3",
		"no list":        `{"Records":{}}`,
		"other fields":   `{"Records":[{"eventSource":{}}]}`,
		"other text":     `{"Events":[{"CloudTrailEvent":"x"}]}`,
	} {
		if _, found, err := addTrail(t, []byte(text)); err == nil || found != 0 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: found %d, %v", name, found, err)
		}
	}
	if _, err := (&Report{}).AddTrail(t.TempDir() + "/none"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}
