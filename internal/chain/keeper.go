package chain

import (
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keeperName is the name that this program has as the keeper of a command.
const keeperName = "eic-authkeys-keeper"

// The keeper's ends of process.life and process.fault.
const (
	lifeFD = 3 + iota
	faultFD
)

const (
	// killTime is how long a keeper tries to end what it keeps.
	killTime = 5 * time.Second
	// killPause is the time between two tries.
	killPause = 5 * time.Millisecond
)

// init turns this program into a keeper where it was started as one, before more of it
// is set up than that takes; any program with this package in it can be.
func init() {
	if len(os.Args) > 1 && os.Args[0] == keeperName {
		keep(os.Args[1:])
	}
}

// keep runs a command and ends as it does. It ends the command, with every process that
// descends from it, when the program that started the keeper closes its end of
// life or is no more, even killed. Neither a process group nor
// PR_SET_PDEATHSIG reaches that far: descendants that lose their parent become
// children of the keeper (PR_SET_CHILD_SUBREAPER), also those with a session of their
// own. What a command leaves behind when it exits by itself is left alone, as sshd
// leaves it. Processes of another user, as of a set-user-ID program, cannot be killed.
func keep(args []string) {
	unix.CloseOnExec(lifeFD)
	unix.CloseOnExec(faultFD)
	life, fault := os.NewFile(lifeFD, "life"), os.NewFile(faultFD, "fault")
	var command *os.Process
	err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	if err == nil {
		command, err = os.StartProcess(args[0], args, &os.ProcAttr{
			Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
			Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
		})
	}
	if err != nil {
		io.WriteString(fault, notStarted(err).Error())
		os.Exit(127)
	}
	fault.Close()
	// A command that closes its output is done printing.
	os.Stdin.Close()
	os.Stdout.Close()
	var killing atomic.Bool
	go func() {
		io.Copy(io.Discard, life)
		killing.Store(true)
		killChildren()
		os.Exit(1)
	}()
	var status syscall.WaitStatus
	for {
		if pid, err := syscall.Wait4(-1, &status, 0, nil); err == nil && pid == command.Pid || err == syscall.ECHILD {
			break
		}
	}
	if killing.Load() {
		select {} // until the rest has ended, too
	}
	if status.Signaled() {
		dieOf(status.Signal())
	}
	os.Exit(status.ExitStatus())
}

// killChildren kills the children of this process until there are none: those of a
// child that dies become its children in turn.
func killChildren() {
	for begin := time.Now(); time.Since(begin) < killTime; time.Sleep(killPause) {
		left := children()
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.ECHILD {
				return
			}
			if err == nil && pid == 0 {
				break
			}
		}
	}
}

// children returns the pids of the children of every thread.
func children() (pids []int) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		text, _ := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// dieOf ends this process by a signal, without a core file.
func dieOf(s syscall.Signal) {
	var core unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	core.Cur = 0
	unix.Setrlimit(unix.RLIMIT_CORE, &core)
	// Go's runtime has handlers of its own, also after signal.Reset.
	var action [4]uintptr // a struct sigaction with SIG_DFL
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	syscall.Kill(os.Getpid(), s)
	time.Sleep(time.Second)
	os.Exit(128 + int(s))
}
