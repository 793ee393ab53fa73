package serialgate

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func glass(h *hurry) { h.BreakGlass, h.Relook = 2*time.Second, time.Second }

// While the metadata service does not work the console opens where the
// administrator chose it, after a wait.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"status": "status=503,service=imds", "reset": "reset,service=imds", "no answer": "hang,service=imds",
		"staples": "hang,path=/latest/meta-data/managed-ssh-keys/signer-ocsp",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newConsole(t, `when_unreachable = "open"`, glass)
			c.push(c.user(), time.Minute)
			c.fault(fault)
			c.knock()
			start := time.Now()
			c.expect(`it asks for a login in 2s unless the service recovers`)
			c.expect(`login: `)
			if waited := time.Since(start); waited < 2*time.Second {
				t.Errorf("it waited for %v", waited)
			}
			c.eventually("it is in the journal", func() bool {
				records, err := private.Records("EIC_EVENT=gate-broken-glass")
				for _, r := range records {
					if strings.Contains(r.Field("MESSAGE"), strings.TrimPrefix(c.path, "/dev/")+" WITHOUT a key") && r.Field("PRIORITY") == "2" && r.Field("EIC_REASON") != "" {
						return true
					}
				}
				return err != nil
			})
		})
	}
	t.Run("lock", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "lock"`, glass)
		c.fault("reset,service=imds")
		c.knock()
		c.expect(`locked \(imds-error\)`)
		c.expect(`look again`)
	})
	t.Run("lock after all", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "open"`, glass)
		c.fault("reset,service=imds")
		c.knock()
		c.expect(`it asks for a login in 2s`)
		text, err := os.ReadFile(c.config)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte(`when_unreachable = "open"`), []byte(`when_unreachable = "lock"`), 1)
		// The gate reads it at any moment.
		if err := errors.Join(os.WriteFile(c.config+".new", text, 0o644), os.Rename(c.config+".new", c.config)); err != nil {
			t.Fatal(err)
		}
		c.expect(`locked \(imds-error\)`)
		c.expect(`look again`)
	})
	t.Run("works again", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "open"`, glass)
		c.fault("status=500,service=imds")
		c.knock()
		c.expect(`it asks for a login in 2s`)
		c.emulator.ClearFaults("")
		c.expect(`locked \(not-pushed\)`)
	})
	t.Run("works again, with a push", func(t *testing.T) {
		t.Parallel()
		c := newConsole(t, `when_unreachable = "open"`, glass)
		c.fault("status=500,service=imds")
		c.knock()
		c.expect(`it asks for a login in 2s`)
		c.push(c.user(), time.Minute)
		c.emulator.ClearFaults("")
		c.expect(`login: `)
		if n := len(c.records("gate-opened")); n != 1 {
			t.Errorf("the journal has %d records of the opening", n)
		}
	})
}

// Where nobody chose, every start says so, an outage locks, and a push opens.
func TestNoChoice(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "", glass)
	c.fault("reset,service=imds")
	c.knock()
	c.expect(`locked \(imds-error\)`)
	c.expect(`look again`)
	c.emulator.ClearFaults("")
	c.push(c.user(), time.Minute)
	c.typed("\r")
	c.expect(`login: `)
	failed, err := private.Records("EIC_EVENT=gate-failed", "EIC_REASON=config")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range failed {
		if strings.Contains(r.Field("MESSAGE"), strings.TrimPrefix(c.path, "/dev/")+" ") && strings.Contains(r.Field("MESSAGE"), "when_unreachable is not set") {
			return
		}
	}
	t.Errorf("the journal has %v", failed)
}

// A broken configuration opens nothing; a corrected one counts from the next Enter
// on.
func TestConfigCorrected(t *testing.T) {
	t.Parallel()
	c := newConsole(t, `when_unreachable = "open"`, glass)
	c.configure("nonsense = 1\n")
	c.open(time.Minute)
	c.expect(`locked \(config\)`)
	c.expect(`look again`)
	if err := c.emulator.WriteConfig(c.config); err != nil {
		t.Fatal(err)
	}
	c.typed("\r")
	c.expect(`login: `)
}
