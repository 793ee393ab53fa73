package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/keys"
	"github.com/eic-agent/eic-agent/internal/hostcmd"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/keyscommand"
	"github.com/eic-agent/eic-agent/internal/osuser"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/version"
)

// ProbeCommand is the hidden command of eicctl that looks at the host with the eyes
// of the account that it runs as.
const ProbeCommand = "doctor-probe"

// probePatience is longer than a probe takes at most.
const probePatience = 15 * time.Second

// A probeOrder is what a probe is to look at; it comes on standard input.
type probeOrder struct {
	ConfigPath string
	Command    string // path of eic-authkeys, or ""
	User       string // whose keys, or ""
	Token      string // of the record that it is to write, or ""
}

// A probeReport is what an account sees of the host.
type probeReport struct {
	UID    int
	Config string // why it cannot read the configuration, or ""

	Contact contact
	Other   string // an endpoint of the other family that works
	Facts   map[string]fact
	NoBoard bool         // it cannot tell that this is an EC2 instance
	Keys    *keys.Report // nil where the metadata service does not answer

	Cache   cacheState
	Journal journalState
	Wrote   bool // journald or syslog took the record of probeOrder.Token
	Command commandState
}

// A fact is one entry of the metadata service.
type fact struct {
	Value   string
	Missing bool
	Fault   string
}

// The facts that are asked for.
const (
	factID     = "instance-id"
	factRegion = "placement/region"
	factDomain = "services/domain"
	factChain  = "managed-ssh-keys/signer-cert/"
)

// Probe looks at the host as the account that runs it, by the order on stdin, and
// writes what it sees to stdout.
func Probe(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	var order probeOrder
	if err := json.NewDecoder(io.LimitReader(stdin, maxOutput)).Decode(&order); err != nil {
		return fmt.Errorf("cannot read the probe request: %v", err)
	}
	return json.NewEncoder(stdout).Encode(sight(ctx, order))
}

// sight is what this account sees.
func sight(ctx context.Context, order probeOrder) (r probeReport) {
	r = probeReport{UID: os.Getuid(), Command: tryCommand(ctx, order.Command), Journal: tryJournal()}
	if order.Token != "" {
		r.Wrote = audit.Probe(probeProgram, order.Token)
	}
	cfg, err := config.Load(order.ConfigPath)
	if err != nil {
		r.Config = err.Error()
		return r
	}
	r.Cache = tryCache(cfg.Cache.Dir)
	if cfg.Instance.Attest != config.AttestIMDS {
		_, err := instance.Identify(os.DirFS("/"))
		r.NoBoard = err != nil
	}
	if r.Contact, r.Other = reach(ctx, cfg.IMDS.Endpoint); !r.Contact.good() {
		return r
	}
	agent := authkeys.New(cfg, "eicctl/"+version.String(), nil)
	ctx, cancel := context.WithTimeout(ctx, cfg.IMDS.Timeout.Duration)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(func() { r.Facts = askFacts(ctx, agent.Metadata) })
	defer wait.Wait()
	// The signing chain is of interest also where no user is.
	user := order.User
	if !osuser.Valid(user) {
		user = defaultAccount
	}
	now := time.Now()
	report := keys.New(agent.Inspect(ctx, user), now)
	r.Keys = &report
	return r
}

func askFacts(ctx context.Context, client authkeys.Metadata) map[string]fact {
	facts := make(map[string]fact)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, path := range []string{factID, factRegion, factDomain, factChain} {
		wait.Go(func() {
			body, err := client.Get(ctx, path, maxAnswer)
			f := fact{Value: strings.TrimSpace(string(body)), Missing: errors.Is(err, imds.ErrNotFound)}
			if path == factChain {
				f.Value = ""
			}
			if err != nil && !f.Missing {
				f.Fault = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			facts[path] = f
		})
	}
	wait.Wait()
	return facts
}

// A commandState is what an account can do with the program.
type commandState struct {
	Missing, Denied bool
	Run             string // why it does not run, or ""
	Version         string
}

func tryCommand(ctx context.Context, path string) commandState {
	var s commandState
	if path == "" {
		return s
	}
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); err {
	case nil:
	case unix.EACCES:
		s.Denied = true
		return s
	default:
		s.Missing = true
		return s
	}
	// Where there is no account to run it as, root runs nothing that somebody
	// else could have put there.
	if os.Geteuid() == 0 && keyscommand.CheckPath("/", path) != nil {
		s.Run = "not run as root: users other than root could change it"
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, programPatience)
	defer cancel()
	out, err := start(ctx, nil, nil, path, "--version")
	if err != nil {
		s.Run = hostcmd.FirstLine(err)
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			s.Run = pathErr.Err.Error()
		}
	}
	s.Version = versionIn(out)
	return s
}

// A probed is what was seen with the eyes of the account that sshd runs the
// command as.
type probed struct {
	probeReport
	as    string // the account, as used in a sentence
	asked bool   // it was really that account
	why   string // why it was not
	fault string // why there is no report at all
	token string // of the record that it wrote
}

// runProbe sends a probe out as the runner. Where there is no such account, or
// this is not root, it runs as the current user.
func (e *exam) runProbe() probed {
	r := e.runner()
	p := probed{as: r.account.name, asked: r.err == nil}
	if os.Geteuid() == 0 { // who can read it back
		p.token = token(e.now)
	}
	who := r.account.credential()
	switch {
	case r.err != nil:
		p.asked, p.as, p.why = false, "root", r.why
		who = nil
	case os.Geteuid() != 0 && uint32(os.Geteuid()) != r.account.uid:
		p.asked, p.as, p.why = false, fmt.Sprintf("user id %d", os.Geteuid()), "checking as "+r.account.name+" needs root"
	}
	if os.Geteuid() != 0 {
		who = nil
	}
	order, err := json.Marshal(probeOrder{ConfigPath: e.config().path, Command: e.server().program(), User: e.User, Token: p.token})
	if err != nil {
		p.fault = err.Error()
		return p
	}
	ctx, cancel := context.WithTimeout(e.ctx, probePatience)
	defer cancel()
	// This name works even if the account cannot search the program's directory.
	out, err := start(ctx, who, order, "/proc/self/exe", ProbeCommand)
	if err == nil {
		err = json.Unmarshal([]byte(out), &p.probeReport)
	}
	if err != nil {
		p.fault = "cannot run eicctl as " + p.as + ": " + hostcmd.FirstLine(err)
		if exe, exeErr := os.Executable(); exeErr == nil && errors.Is(err, fs.ErrPermission) {
			p.fault = p.as + " cannot run " + exe + ": chmod 0755 " + exe
		}
	}
	return p
}

// ownContact asks the metadata service as root.
func (e *exam) ownContact() contact {
	if e.config().cfg == nil {
		return contact{}
	}
	c, _ := reach(e.ctx, e.config().cfg.IMDS.Endpoint)
	return c
}

// blind says why there is nothing to say about what the account sees beyond the
// configuration, or returns "".
func (p probed) blind() string {
	switch {
	case p.fault != "":
		return p.fault
	case p.Config != "":
		return p.as + " cannot use the configuration"
	}
	return ""
}

// unreached says why there is nothing to say about what the metadata service
// serves, or returns "".
func (p probed) unreached() string {
	switch {
	case p.blind() != "":
		return p.blind()
	case !p.Contact.good():
		return "the metadata service does not answer"
	case p.slow():
		return "the metadata service is too slow"
	}
	return ""
}

func word(f *keys.Fault) reason.Word {
	if f == nil {
		return ""
	}
	return f.Reason
}
