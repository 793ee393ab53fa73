package serialgate

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is the highest number of a signal on Linux.
const lastSignal = 64

// StartClean gives this process what systemd gives a service, whatever it was started
// with: every signal at its default and none blocked, umask 022, no open files but the
// first three. The gate needs the signals to end at a hang-up, and login hands on to the
// session what its getty has.
//
// Go's runtime remembers which signals were ignored or blocked when it started. So where
// one was, the program re-executes itself, as the same process, and StartClean returns
// only with an error. Call it first in main. Resource limits stay as they are.
func StartClean() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Umask(0o022)
	var blocked unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, &blocked); err != nil {
		return fmt.Errorf("cannot unblock signals: %w", err)
	}
	ignored, err := heedIgnored()
	if err != nil {
		return fmt.Errorf("cannot reset signals: %w", err)
	}
	if ignored || blocked != (unix.Sigset_t{}) {
		return fmt.Errorf("cannot re-execute: %w", syscall.Exec(thisProgram, os.Args, os.Environ()))
	}
	// Nothing that this process runs gets them. Kernels before 5.11 cannot do that.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	// In place of the name of thisProgram.
	if name, err := unix.BytePtrFromString(program); err == nil {
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	}
	return nil
}

// A sigaction is the kernel's struct sigaction of amd64 and arm64, whose handler is
// SIG_DFL or SIG_IGN.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const ignore = 1 // SIG_IGN

// heedIgnored gives each signal that is ignored its default, and reports whether there
// was one. It leaves alone those that Go handles.
func heedIgnored() (found bool, err error) {
	for n := uintptr(1); n <= lastSignal; n++ {
		var now, def sigaction
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, 0, uintptr(unsafe.Pointer(&now)), unsafe.Sizeof(now.mask), 0, 0); errno != 0 {
			return found, errno
		}
		if now.handler != ignore {
			continue
		}
		found = true
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&def)), 0, unsafe.Sizeof(now.mask), 0, 0); errno != 0 {
			return found, errno
		}
	}
	return found, nil
}
