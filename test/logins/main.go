// Command logins writes the records of logins with pushed keys, by processes of the names
// and uids that they have with the real sshd:
//
//	logins DIR UID RATE COUNT
//
// It makes COUNT logins, RATE a second, with eic-authkeys as UID, and prints the request of
// each. DIR is where it puts itself as sshd and eic-authkeys.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
)

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "sshd":
		err = login(os.Args[1], os.Args[2])
	case "eic-authkeys":
		audit.New("eic-authkeys", nil).Log(audit.Event{
			Kind: audit.KeyProvided, Message: "gave sshd a key", User: "alice", Fingerprint: "SHA256:" + os.Args[1], Caller: "arn:aws:iam::123456789012:user/alice",
			Request: os.Args[1], SSHDPID: os.Getppid(), Instance: "i-0123456789abcdef0", Expires: time.Now().Add(time.Minute),
		})
	default:
		err = all(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "logins:", err)
		os.Exit(1)
	}
}

func all(args []string) error {
	dir, uid := args[0], args[1]
	rate, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	for _, name := range []string{"sshd", "eic-authkeys"} {
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			return err
		}
	}
	var wait sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	slots := make(chan bool, 8)
	for i := range count {
		<-tick.C
		slots <- true
		wait.Go(func() {
			request := fmt.Sprintf("request-%06d", i)
			if out, err := exec.Command(filepath.Join(dir, "sshd"), uid, request).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "logins: %v: %s\n", err, out)
			}
			fmt.Println(request)
			<-slots
		})
	}
	wait.Wait()
	return nil
}

// login is what the process of sshd does for a session.
func login(uid, request string) error {
	n, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "eic-authkeys"), request)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(n), Gid: uint32(n)}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %s", err, out)
	}
	log, err := net.Dial("unixgram", "/dev/log")
	if err != nil {
		return err
	}
	for _, message := range []string{
		fmt.Sprintf("Accepted publickey for alice from 10.0.0.1 port %d ssh2: ED25519 SHA256:%s", 1024+os.Getpid()%60000, request),
		"pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)",
		"pam_unix(sshd:session): session closed for user alice",
	} {
		// As syslog(3) does.
		if _, err := fmt.Fprintf(log, "<86>%s sshd[%d]: %s", time.Now().Format(time.Stamp), os.Getpid(), message); err != nil {
			return err
		}
	}
	return nil
}
