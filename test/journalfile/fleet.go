package journalfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// A Fleet is a number of hosts on which sessions are opened with pushed keys, one after
// the other and never two at once on one host. Each session has ten records, three of
// which are of other programs.
type Fleet struct {
	Hosts, Sessions int
}

// SessionRecords is the number of records of each session of a Fleet.
const SessionRecords = 10

// Users of a Fleet's sessions, in turn.
const FleetUsers = 40

// Begin is the time of a Fleet's first record.
var Begin = time.Unix(1700000000, 0).UTC()

// Write makes a journal file in dir for each host.
func (f Fleet) Write(dir string) error {
	for host := range f.Hosts {
		if err := f.writeHost(dir, host); err != nil {
			return err
		}
	}
	return nil
}

func (f Fleet) writeHost(dir string, host int) error {
	cmd := exec.Command(Program, "--output="+filepath.Join(dir, fmt.Sprintf("host-%03d.journal", host)), "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	w := bufio.NewWriterSize(in, 1<<20)
	for i := host; i < f.Sessions; i += f.Hosts {
		f.writeSession(w, host, i)
	}
	return errors.Join(w.Flush(), in.Close(), cmd.Wait())
}

// writeSession writes the records of the i-th session of the fleet.
func (f Fleet) writeSession(w io.Writer, host, i int) {
	n := 0
	write := func(identifier, exe string, pid, uid int, message string, more ...string) {
		at := Begin.Add(time.Duration(i)*time.Second + time.Duration(n)*90*time.Millisecond).UnixMicro()
		n++
		fmt.Fprintf(w, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032x\n_MACHINE_ID=%032x\n_HOSTNAME=host-%03d\n",
			at, at-Begin.UnixMicro()+1000000, host+1, host+1001, host)
		fmt.Fprintf(w, "PRIORITY=6\n_TRANSPORT=syslog\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=%s\nSYSLOG_PID=%d\n_PID=%d\n_UID=%d\n_GID=%d\n_COMM=%.15s\n_EXE=%s\n_CMDLINE=%s: \n",
			identifier, pid, pid, uid, uid, identifier, exe, identifier)
		fmt.Fprintf(w, "_CAP_EFFECTIVE=1ffffffffff\n_SELINUX_CONTEXT=unconfined\n_SYSTEMD_CGROUP=/system.slice/ssh.service\n_SYSTEMD_UNIT=ssh.service\n_SYSTEMD_SLICE=system.slice\n_SYSTEMD_INVOCATION_ID=%032x\n_SOURCE_REALTIME_TIMESTAMP=%d\nMESSAGE=%s\n",
			host+2001, at-5, message)
		for _, field := range more {
			io.WriteString(w, field+"\n")
		}
		io.WriteString(w, "\n")
	}
	const sshd = "/usr/sbin/sshd"
	pid := 1000 + i/f.Hosts*3%4000000
	user, key, address, port := "user"+strconv.Itoa(i%FleetUsers), fmt.Sprintf("SHA256:%043d", i), fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255), 1024+i%60000
	caller := fmt.Sprintf("arn:aws:sts::123456789012:assumed-role/ops/%s", user)
	request := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
	for range 2 {
		write("eic-authkeys", "/usr/bin/eic-authkeys", pid+1, 990, "gave sshd the key "+key+" for user \""+user+"\", pushed by "+caller,
			"MESSAGE_ID=2ea351bf60cd4858a07618f84059970c", "EIC_EVENT=key-provided", "EIC_SCHEMA=1", "EIC_USER="+user, "EIC_FINGERPRINT="+key, "EIC_KEY_TYPE=ssh-ed25519",
			"EIC_CALLER="+caller, "EIC_REQUEST_ID="+request, "EIC_INSTANCE_ID=i-0123456789abcdef0", "EIC_SSHD_PID="+strconv.Itoa(pid),
			"EIC_EXPIRES="+Begin.Add(time.Duration(i+60)*time.Second).Format(time.RFC3339))
	}
	write("sshd", sshd, pid, 0, fmt.Sprintf("Accepted publickey for %s from %s port %d ssh2: ED25519 %s", user, address, port, key))
	write("sshd", sshd, pid, 0, fmt.Sprintf("pam_unix(sshd:session): session opened for user %s(uid=%d) by (uid=0)", user, 1000+i%FleetUsers))
	write("systemd-logind", "/lib/systemd/systemd-logind", 400, 0, fmt.Sprintf("New session %d of user %s.", i, user))
	write("systemd", "/lib/systemd/systemd", 1, 0, fmt.Sprintf("Started Session %d of User %s.", i, user))
	write("sshd", sshd, pid+2, 1000+i%FleetUsers, fmt.Sprintf("Received disconnect from %s port %d:11: disconnected by user", address, port))
	write("sshd", sshd, pid+2, 1000+i%FleetUsers, fmt.Sprintf("Disconnected from user %s %s port %d", user, address, port))
	write("sshd", sshd, pid, 0, fmt.Sprintf("pam_unix(sshd:session): session closed for user %s", user))
	write("systemd-logind", "/lib/systemd/systemd-logind", 400, 0, fmt.Sprintf("Removed session %d.", i))
}

// WriteExport writes the records of all hosts in the journal's export format, a session
// after the other.
func (f Fleet) WriteExport(w io.Writer) {
	for i := range f.Sessions {
		f.writeSession(w, i%f.Hosts, i)
	}
}
