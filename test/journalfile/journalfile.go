// Package journalfile makes files of the systemd journal, with the fields that
// only journald can set, by the real systemd-journal-remote.
package journalfile

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eic-agent/eic-agent/test/need"
)

// Program makes journal files of the journal's export format.
const Program = "/lib/systemd/systemd-journal-remote"

// Defaults of every entry.
const (
	Boot    = "11111111111111111111111111111111"
	Machine = "22222222222222222222222222222222"
)

// An Entry is one record, by field name.
type Entry map[string]string

// Need is for tests that take the programs.
func Need(t testing.TB) {
	t.Helper()
	for _, program := range []string{Program, "/usr/bin/journalctl"} {
		if _, err := os.Stat(program); err != nil {
			need.Missing(t, "%v", err)
		}
	}
}

// Write makes a journal file of entries.
func Write(t testing.TB, path string, entries ...Entry) {
	t.Helper()
	var b strings.Builder
	for i, e := range entries {
		WriteExport(&b, i, e)
	}
	export := filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(export, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(Program, "--output="+path, export).CombinedOutput(); err != nil {
		t.Fatalf("systemd-journal-remote: %v: %s", err, out)
	}
}

// WriteExport writes the i-th entry in the journal's export format.
func WriteExport(b *strings.Builder, i int, e Entry) {
	full := Entry{
		"__REALTIME_TIMESTAMP": fmt.Sprint(1700000000000000 + i*1000000), "__MONOTONIC_TIMESTAMP": fmt.Sprint(1000 + i*1000000),
		"_BOOT_ID": Boot, "_MACHINE_ID": Machine, "_HOSTNAME": "host",
	}
	maps.Copy(full, e)
	for _, name := range slices.Sorted(maps.Keys(full)) {
		value := full[name]
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
			b.WriteString(name + "\n")
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
			b.WriteString(value + "\n")
			continue
		}
		b.WriteString(name + "=" + value + "\n")
	}
	b.WriteString("\n")
}
