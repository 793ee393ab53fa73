package sessions

import (
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

// Package cloudtrail's own tests have the shapes of files.
func TestTrail(t *testing.T) {
	t.Parallel()
	var list []string
	for _, request := range []string{"r0", "r1", "r2", "r3", "r4", ""} {
		list = append(list, trailRecord(request, ""))
	}
	r, found, err := addTrail(t, []byte(`{"Records":[`+strings.Join(list, ",")+`]}`))
	if err != nil || found != 4 || len(r.Notes) > 0 {
		t.Fatalf("found %d, %q, %v", found, r.Notes, err)
	}
	for request, trail := range map[string]*Trail{"r1": r.Sessions[0].Pushes[0].Trail, "r2": r.Sessions[0].Pushes[1].Trail, "r3": r.Unknown[0].Trail, "r4": r.Refusals[0].Trail} {
		if trail == nil || trail.EventID != "e-"+request || trail.Principal != alice || trail.SourceIP != "192.0.2.1" || trail.UserAgent != "aws-cli" || trail.EventName != "SendSSHPublicKey" || trail.Time.IsZero() {
			t.Errorf("%s has %+v", request, trail)
		}
	}
	// A query may leave out the columns that are not needed.
	if r, found, err := addTrail(t, []byte("requestid,eventname\nr3,SendSSHPublicKey\n")); err != nil || found != 1 || r.Unknown[0].Trail == nil {
		t.Errorf("a query: found %d, %v", found, err)
	}
	for name, c := range map[string]struct{ text, note string }{
		"refused":        {trailRecord("r1", `"errorCode":"AccessDenied",`), "it has 1 record, 1 of them"},
		"another source": {strings.ReplaceAll(trailRecord("r1", ""), "ec2-instance-connect", "lightsail"), "it has 1 record, 0 of them"},
		"others'":        {trailRecord("r7", "") + trailRecord("r8", "") + strings.ReplaceAll(trailRecord("r9", ""), "ec2-instance-connect", "lightsail"), "it has 3 records, 2 of them"},
	} {
		if r, found, err := addTrail(t, []byte(c.text)); err != nil || found != 0 || r.Sessions[0].Pushes[0].Trail != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], c.note) {
			t.Errorf("%s: found %d, %q, %v", name, found, r.Notes, err)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {"", "it is empty"},
		"no record":   {`{"Records":[]}`, "no CloudTrail record"},
		"no requests": {`{"Events":[{"EventId":"e","EventName":"SendSSHPublicKey","EventSource":"ec2-instance-connect.amazonaws.com"}]}`, "keep CloudTrailEvent"},
	} {
		if _, found, err := addTrail(t, []byte(c.text)); err == nil || found != 0 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %d, %v", name, found, err)
		}
	}
	dir := t.TempDir()
	if _, err := (&Report{}).AddTrail(dir); err == nil || err.Error() != fmt.Sprintf("cannot use CloudTrail file %q: is a directory", dir) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := (&Report{}).AddTrail(t.TempDir() + "/none"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}
