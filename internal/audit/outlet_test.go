package audit

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutlet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := outlet{limit: sendLimit}
		if o.send(func() error { return errors.New("refused") }) {
			t.Error("a failed send reported success")
		}
		if !o.send(func() error { time.Sleep(sendLimit - 1); return nil }) {
			t.Error("a slow send reported failure")
		}

		release := make(chan struct{})
		start := time.Now()
		if o.send(func() error { <-release; return nil }) {
			t.Error("a hung send reported success")
		}
		if got := time.Since(start); got != sendLimit {
			t.Errorf("a hung send took %v, want %v", got, sendLimit)
		}
		start = time.Now()
		if o.send(func() error { t.Error("tried again"); return nil }) {
			t.Error("a given up outlet reported success")
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("a given up outlet took %v", got)
		}
		close(release)
	})
}
