package serialgate

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
	"github.com/eic-agent/eic-agent/internal/reason"
)

// onlyPort is the one serial port that EC2 has (service model ec2-instance-connect
// 2018-04-02, SerialPort).
const onlyPort = 0

// User returns the name for which a key is pushed that opens the port of an
// instance: the login name that the gateway of the EC2 serial console has for it.
func User(instanceID string, port int) string {
	return instanceID + ".port" + strconv.Itoa(port)
}

// A view is what one look at the metadata service comes to.
type view struct {
	config   *config.Config // nil where it cannot be used
	instance string         // "" where it is not known
	user     string         // "" where the instance is not known
	port     int
	key      keyrecord.Key // of the push that opens the console
	open     bool          // there is such a push
	// wouldRefuse is the event of a push that opens the console only because [users] is
	// not enforced.
	wouldRefuse *audit.Event
	// err says why the console is not opened: a *reason.Error, or one that wraps it.
	err     error
	refused []audit.Event // one for each record that opens nothing
}

// breaksGlass reports whether nothing is known only because the metadata service
// does not work, and the administrator has the console opened then.
func (v view) breaksGlass() bool {
	return imds.IsOutage(v.err) && v.config.Serial.WhenUnreachable == config.UnreachableOpen
}

// look finds out whether a push opens the console. It marks
// nothing as used.
func (g *Gate) look(ctx context.Context) view {
	v := view{port: g.Port}
	cfg, err := config.Load(g.ConfigPath)
	if err != nil {
		v.err = err
		return v
	}
	v.config = cfg
	if v.port < 0 {
		v.port = cfg.Serial.Port
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.IMDS.Timeout.Duration)
	defer cancel()
	agent := authkeys.New(cfg, g.UserAgent, nil)
	defer agent.Close()
	if v.instance, v.err = agent.InstanceID(ctx); v.err != nil {
		return v
	}
	v.user = User(v.instance, v.port)
	if v.port != onlyPort {
		v.err = reason.New(reason.NoSuchPort, fmt.Sprintf("no serial port %d", v.port))
		return v
	}
	proof, err := agent.Prove(ctx, v.user, v.instance)
	v.refused = proof.Refused
	if err != nil {
		v.err = err
		return v
	}
	v.choose(proof.Keys, g.used)
	if e, ok := agent.WouldRefuse(v.user, v.key); v.open && ok {
		e.Instance, e.Port = v.instance, strconv.Itoa(v.port)
		v.wouldRefuse = &e
	}
	return v
}

// choose takes the push that lives longest of those that have opened nothing yet.
func (v *view) choose(keys []keyrecord.Key, marks used) {
	slices.SortStableFunc(keys, func(a, b keyrecord.Key) int { return b.Expires().Compare(a.Expires()) })
	for _, key := range keys {
		if !marks.has(key) {
			v.key, v.open = key, true
			return
		}
		v.refused = append(v.refused, v.refuse(key, errUsed))
	}
	v.err = reason.New(reason.NotPushed, "no key is pushed for "+v.user)
	// What is wrong with the latest push says more.
	if n := len(v.refused); n > 0 {
		latest := slices.MaxFunc(v.refused, func(a, b audit.Event) int { return a.Expires.Compare(b.Expires) })
		v.err = reason.New(latest.Reason, latest.Message)
	}
}

// refuse is the event of a proved push that opens nothing, for the reason in err.
func (v *view) refuse(key keyrecord.Key, err error) audit.Event {
	e := authkeys.KeyEvent(key)
	e.Reason = reason.Of(err)
	e.Message = fmt.Sprintf("refused the key %s for user %q (%s): %v; %s", e.Fingerprint, v.user, e.Reason, err, e.Reason.Hint())
	return e
}
