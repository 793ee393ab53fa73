package metadata

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

const (
	domainPath    = "services/domain" // below Root
	foreignCaller = "arn:aws:iam::000000000000:user/mallory"
)

// factPaths are the paths below Root that faults have another text at.
var factPaths = map[string]string{
	"fact-instance-id": "instance-id", "fact-zone": "placement/availability-zone", "fact-region": "placement/region", "fact-domain": domainPath,
}

// Faults returns those of the facts and of the records.
func Faults() []fault.Rule {
	fact := func(name, doc string) fault.Rule {
		return fault.Rule{Kind: fault.Kind{Name: name, Value: "TEXT", Layer: fault.LayerFact, Doc: doc}, Check: fault.CheckText, Fact: true}
	}
	all := []fault.Rule{
		fact("fact-instance-id", "instance-id is TEXT."),
		fact("fact-zone", "placement/availability-zone is TEXT."),
		fact("fact-region", "placement/region is TEXT; the signer's name keeps the real one."),
		fact("fact-domain", "services/domain is TEXT; the signer's name keeps the real one."),
	}
	for _, f := range listOfRecordFaults() {
		all = append(all, f.Rule)
	}
	return all
}

// A recordFault says what a fault does to records: to what is signed, or to what
// is served.
type recordFault struct {
	fault.Rule
	statement     func(*keyrecord.Statement, time.Time)
	served        func([]byte) []byte
	foreignSigner bool
}

var recordFaults = func() map[string]recordFault {
	all := make(map[string]recordFault)
	for _, f := range listOfRecordFaults() {
		all[f.Name] = f
	}
	return all
}()

func listOfRecordFaults() []recordFault {
	rule := func(name, doc string) fault.Rule {
		return fault.Rule{Kind: fault.Kind{Name: name, Layer: fault.LayerRecord, Doc: doc}}
	}
	statement := func(name, doc string, change func(*keyrecord.Statement, time.Time)) recordFault {
		return recordFault{Rule: rule(name, doc), statement: change}
	}
	served := func(name, doc string, change func([]byte) []byte) recordFault {
		return recordFault{Rule: rule(name, doc), served: change}
	}
	return []recordFault{
		statement("record-expired", "The records expired a second ago; validly signed.", func(s *keyrecord.Statement, now time.Time) {
			s.Expires = now.Add(-time.Second)
		}),
		statement("record-long-lived", "The records expire in an hour; validly signed.", func(s *keyrecord.Statement, now time.Time) {
			s.Expires = now.Add(time.Hour)
		}),
		statement("record-foreign", "The records are for another instance; validly signed.", func(s *keyrecord.Statement, _ time.Time) {
			s.Instance = "i-0fedcba9876543210"
		}),
		statement("record-options", "The key lines begin with options; validly signed.", func(s *keyrecord.Statement, _ time.Time) {
			s.Key = `command="/bin/sh" ` + s.Key
		}),
		statement("record-key-cut", "The keys are cut in half; validly signed.", func(s *keyrecord.Statement, _ time.Time) {
			s.Key = s.Key[:len(s.Key)/2]
		}),
		statement("record-anonymous", "The records have neither Caller nor Request.", func(s *keyrecord.Statement, _ time.Time) {
			s.Caller, s.Request = "", ""
		}),
		{Rule: rule("record-foreign-signer", "The records are signed with a key that is not in the chain."), foreignSigner: true},
		served("record-tampered", "The Caller was changed after signing.", func(b []byte) []byte {
			if !bytes.Contains(b, []byte("#Caller=")) {
				return append([]byte("#Caller="+foreignCaller+"\n"), b...)
			}
			return bytes.Replace(b, []byte("#Caller="), []byte("#Caller="+foreignCaller), 1)
		}),
		served("record-key-swapped", "The key was replaced after signing.", func(b []byte) []byte {
			const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC mallory"
			lines := strings.Split(string(b), "\n")
			if i := slices.IndexFunc(lines, func(l string) bool { return l != "" && l[0] != '#' }); i >= 0 {
				lines[i] = key
			}
			return []byte(strings.Join(lines, "\n"))
		}),
		served("record-truncated", "The records end in the middle of their signature.", func(b []byte) []byte {
			lines := strings.SplitAfter(strings.TrimRight(string(b), "\n"), "\n")
			return []byte(strings.Join(lines[:len(lines)-min(len(lines), 2)], "") + "\n")
		}),
		served("record-crlf", "The lines of the records end in CR LF.", func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
		}),
		served("record-junk", "Junk precedes every record.", func(b []byte) []byte {
			return append([]byte("\n\n#Nonsense\nnot a key\n%%%%\n\n"), b...)
		}),
		served("record-one-line", "The signatures are not wrapped.", func(b []byte) []byte {
			lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
			i := slices.IndexFunc(lines, func(l string) bool { return l != "" && l[0] != '#' })
			return []byte(strings.Join(lines[:i+1], "\n") + "\n" + strings.Join(lines[i+1:], "") + "\n\n")
		}),
	}
}
