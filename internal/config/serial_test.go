package config

import (
	"strings"
	"testing"
	"time"
)

func TestSerial(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Serial{
		"": {},
		"when_unreachable = \"\"\nidle_timeout = \"\"\nmax_session = \"\"\nport = 0": {},
		"when_unreachable = \"lock\"\nidle_timeout = \"15m\"\nmax_session = \"8h\"":  {UnreachableLock, limit(15 * time.Minute), limit(8 * time.Hour), 0},
		"when_unreachable = \"open\"\nidle_timeout = \"2m\"\nmax_session = \"168h\"": {UnreachableOpen, limit(2 * time.Minute), limit(168 * time.Hour), 0},
		"when_unreachable = \"open\"\nidle_timeout = \"0s\"\nport = 1":               {WhenUnreachable: UnreachableOpen, Port: 1},
	} {
		c, err := Parse([]byte("[serial]\n" + text))
		if err != nil || c.Serial != want {
			t.Errorf("%q: got %+v, %v", text, c, err)
		}
	}
}

func limit(d time.Duration) Limit { return Limit{Duration{Duration: d}} }

func TestSerialFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`when_unreachable = "Open"`: `serial.when_unreachable: "Open" is neither "lock" nor "open"`,
		`when_unreachable = true`:   "when_unreachable",
		`idle_timeout = "119s"`:     `serial.idle_timeout: 1m59s is neither "" nor between 2m and 168h`,
		`idle_timeout = "-5m"`:      "serial.idle_timeout",
		`idle_timeout = "15"`:       `serial.idle_timeout: "15" is not a duration like "15m"`,
		`max_session = "169h"`:      "serial.max_session",
		`max_session = "long"`:      `serial.max_session: "long" is not a duration`,
		`port = 256`:                "serial.port: 256 is not between 0 and 255",
		`port = -1`:                 "serial.port",
		`port = "0"`:                "serial.port",
		`idle = "15m"`:              `unknown key "serial.idle"`,
	} {
		if c, err := Parse([]byte("[serial]\n" + text)); c != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
