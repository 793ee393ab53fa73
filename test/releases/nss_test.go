package releases

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

// nssModule answers for two spellings of alice with her account, as a directory service
// does.
const nssModule = `#include <nss.h>
#include <pwd.h>
#include <string.h>

enum nss_status _nss_eictest_getpwnam_r(const char *name, struct passwd *p, char *buffer, size_t size, int *error)
{
	if (strcmp(name, "Alice") != 0 && strcmp(name, "EXAMPLE\\alice") != 0)
		return NSS_STATUS_NOTFOUND;
	p->pw_name = "alice";
	p->pw_passwd = "*";
	p->pw_uid = UID;
	p->pw_gid = UID;
	p->pw_gecos = "";
	p->pw_dir = "/home/alice";
	p->pw_shell = "/bin/bash";
	return NSS_STATUS_SUCCESS;
}
`

// otherSpellings logs alice in by other names that the host has for her: sshd asks for the
// keys of the name that eicctl says, and audit joins that login.
func otherSpellings(h *host) {
	t := h.t
	dir := t.TempDir()
	source, module := filepath.Join(dir, "eictest.c"), filepath.Join(dir, "libnss_eictest.so.2")
	if err := os.WriteFile(source, []byte(nssModule), 0o644); err != nil {
		t.Fatal(err)
	}
	uid := strings.TrimSpace(h.must("id", "-u", "alice"))
	if out, err := exec.Command(need.Program(t, "gcc"), "-shared", "-fPIC", "-DUID="+uid, "-o", module, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	content, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	h.write("/usr/lib/x86_64-linux-gnu/libnss_eictest.so.2", string(content))
	h.must("sed", "-i", "s/^passwd:.*/& eictest/", "/etc/nsswitch.conf")
	h.install(newVersion)
	h.must("eicctl", "sshd", "enable")

	for _, spelling := range []string{"Alice", `EXAMPLE\alice`} {
		key, public := h.newKey()
		statement, err := h.aws.Push(instance, "alice", public, emulator.DefaultCallerARN)
		if err != nil {
			t.Fatal(err)
		}
		// Newer clients take a backslash only from a file.
		h.write("/root/as", "User "+spelling+"\n")
		args := h.ssh(key, "id", "-un")
		args[slices.Index(args, "none")], args[slices.Index(args, "alice@127.0.0.1")] = "/root/as", "127.0.0.1"
		if out, err := h.Run(args[0], args[1:]...); err != nil || out != "alice\n" {
			t.Errorf("login as %s: %q, %v", spelling, out, err)
		}
		granted, err := h.Records("EIC_REQUEST_ID=" + statement.Request)
		if err != nil || len(granted) == 0 {
			t.Fatalf("login as %s: no record of the key: %v", spelling, err)
		}
		asked := granted[0].Field("EIC_USER")

		var keys struct {
			SSHDUser string `json:"sshd_user"`
		}
		h.decode(&keys, "keys", spelling, "--json")
		if asked != "alice" || keys.SSHDUser != asked {
			t.Errorf("login as %s: sshd asked for %q, and eicctl keys says %q", spelling, asked, keys.SSHDUser)
		}
		if out, _ := h.Run("eicctl", "doctor", spelling); !strings.Contains(out, "user-name-differs") || !strings.Contains(out, `"`+asked+`"`) || strings.Contains(out, "user-missing") || strings.Contains(out, "useradd") {
			t.Errorf("doctor for %s:\n%s", spelling, out)
		}

		var report struct {
			Sessions []struct{ Request, User string }
		}
		h.must("journalctl", "--sync")
		h.decode(&report, "audit", "--user", "alice", "--output", "json")
		joined := 0
		for _, s := range report.Sessions {
			if s.Request == statement.Request {
				joined++
			}
		}
		if joined != 1 {
			t.Errorf("login as %s: audit has %d sessions of the request: %+v", spelling, joined, report.Sessions)
		}
	}

	// A name that nothing answers for stays one that does not exist.
	if out, _ := h.Run("eicctl", "doctor", "ALICE"); !strings.Contains(out, "user-missing") {
		t.Errorf("doctor for ALICE:\n%s", out)
	}
}
