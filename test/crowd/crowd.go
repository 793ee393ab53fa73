// Package crowd starts many runs of eic-authkeys at once, against a metadata
// service that answers the first request of each with 503.
package crowd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/host"
)

// Options say how large the crowd is.
type Options struct {
	Calls  int
	Users  int // 1: all calls are for one user; Calls: each for another
	Cached bool
}

// A Result is what became of the crowd.
type Result struct {
	Granted   int // calls that printed the key
	Late      int // calls that said that the service did not answer in time
	Requests  int
	Throttled int
	Failures  []string // what the other calls said
}

// Run pushes a key for each user and starts all calls at once, as account.
func Run(h *host.Host, account *syscall.Credential, o Options) (Result, error) {
	server, err := emulator.New(emulator.Options{})
	if err != nil {
		return Result{}, err
	}
	var requests, throttled atomic.Int64
	var connections atomic.Int64
	type first struct{} // the key of whether the next request is the first on its connection, and throttled
	imds := server.IMDSHandler(emulator.DefaultInstanceID)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Context().Value(first{}).(*atomic.Bool).CompareAndSwap(true, false) {
			throttled.Add(1)
			http.Error(w, "", http.StatusServiceUnavailable)
			return
		}
		imds.ServeHTTP(w, r)
	}))
	front.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		var yes atomic.Bool
		yes.Store(connections.Add(1) <= int64(o.Calls))
		return context.WithValue(ctx, first{}, &yes)
	}
	front.Start()
	defer front.Close()
	config, cleanUp, err := configure(h, server, account, front.URL, o.Cached)
	if err != nil {
		return Result{}, err
	}
	defer cleanUp()
	name := fmt.Sprintf("crowd-%d-%d-%d", o.Calls, o.Users, time.Now().UnixNano())
	_, public, err := h.NewKey(name, "ed25519", 0)
	if err != nil {
		return Result{}, err
	}
	out, err := exec.Command("ssh-keygen", "-l", "-f", h.Path(name)).Output()
	if err != nil {
		return Result{}, err
	}
	fingerprint := string(bytes.Fields(out)[1])
	for i := range o.Users {
		if _, err := server.Push(emulator.DefaultInstanceID, userName(i), public, emulator.DefaultCallerARN); err != nil {
			return Result{}, err
		}
	}

	var mu sync.Mutex
	var result Result
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range o.Calls {
		var printed bytes.Buffer
		cmd := exec.Command(host.BinDir+"/eic-authkeys", "--config", config, userName(i%o.Users), fingerprint)
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		cmd.Stdout, cmd.Stderr = &printed, &printed // one pipe
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
		wait.Go(func() {
			<-start
			err := cmd.Run()
			mu.Lock()
			defer mu.Unlock()
			if err == nil && printed.String() == public+"\n" {
				result.Granted++
			} else if strings.Contains(printed.String(), " in time;") {
				result.Late++
			} else {
				result.Failures = append(result.Failures, fmt.Sprintf("%v: %s", err, &printed))
			}
		})
	}
	close(start)
	wait.Wait()
	result.Requests, result.Throttled = int(requests.Load()), int(throttled.Load())
	return result, nil
}

func userName(i int) string { return fmt.Sprintf("crowd%d", i) }

// configure writes a configuration for the crowd, with an empty cache or none.
func configure(h *host.Host, server *emulator.Server, account *syscall.Credential, endpoint string, cached bool) (path string, cleanUp func(), err error) {
	dir, err := os.MkdirTemp(h.Path(""), "crowd-")
	if err != nil {
		return "", nil, err
	}
	cleanUp = func() { os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", cleanUp, err
	}
	path = filepath.Join(dir, "config.toml")
	if err := server.WriteConfigFor(path, endpoint); err != nil || !cached {
		return path, cleanUp, err
	}
	cache := filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		return "", cleanUp, err
	}
	if err := os.Chown(cache, int(account.Uid), int(account.Gid)); err != nil {
		return "", cleanUp, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", cleanUp, err
	}
	text = bytes.ReplaceAll(text, []byte(`dir = ""`), fmt.Appendf(nil, "dir = %q", cache))
	return path, cleanUp, os.WriteFile(path, text, 0o644)
}
