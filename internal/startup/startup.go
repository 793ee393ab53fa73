// Package startup prepares the Go runtime for a process that lives for milliseconds. A
// main package imports it for its effect.
//
// It depends on nothing but the runtime, so that it is initialized before almost
// everything else. What it does would cost more than it saves once main runs.
package startup

import "runtime"

// stack is more than a login needs of the main goroutine's stack.
const stack = 24 << 10

func init() {
	// One processor: a second one has its own heap cache, stacks and thread,
	// and whatever initialization allocates on it costs page faults twice.
	runtime.GOMAXPROCS(1)
	// One growth of the stack instead of four, each of which copies what is there and
	// maps another size class.
	grow()
}

//go:noinline
func grow() byte {
	var room [stack]byte
	return room[runtime.NumGoroutine()%stack]
}
