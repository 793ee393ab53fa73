// Package emulator is the AWS side of EC2 Instance Connect on one machine: the
// API that takes pushed keys, and the instance metadata service that serves
// them, signed by a certificate authority of its own. It is for tests and
// demonstrations, and guards nothing: it holds no secret of anybody's.
package emulator

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/api/ec2"
	"github.com/eic-agent/eic-agent/internal/emulator/api/eic"
	"github.com/eic-agent/eic-agent/internal/emulator/api/lightsail"
	"github.com/eic-agent/eic-agent/internal/emulator/api/sts"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/gateway"
	"github.com/eic-agent/eic-agent/internal/emulator/metadata"
	"github.com/eic-agent/eic-agent/internal/emulator/signing"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Options configure a Server. The zero value is a server with one instance and
// one credential on free loopback ports.
type Options struct {
	// Instances that exist. Nil means one, DefaultInstanceID in us-east-1a.
	Instances []Instance

	// AccessKeys are the credentials whose signatures are verified. Nil,
	// where Credentials is nil too, means DefaultAccessKey with
	// DefaultSecretKey for DefaultCallerARN.
	AccessKeys []Credential

	// Credentials maps an access key id to the ARN of its IAM principal,
	// beside AccessKeys. There is no secret, so signatures by these are NOT
	// verified: whoever knows the id is believed to hold the key.
	Credentials map[string]string

	// Deny are the explicit denies of IAM. All else is allowed.
	Deny []Deny

	// SerialAccess turns the serial console on for every account; on AWS, and
	// here unless this is set, an account has to turn it on itself.
	SerialAccess bool

	// Rate is how many calls of one operation an account may make in a region
	// in a second; more are throttled. 0 means no limit.
	Rate float64

	// Permissive lets keys of every type, size and length be pushed, unparsed
	// and as they are, as long as they are one line, and RSA keys of every
	// length be imported.
	Permissive bool

	// ConnectionClose makes the metadata service close each connection after
	// one response, as the real one has been seen to.
	ConnectionClose bool

	// StapleNames is the hash that names staples: crypto.SHA1 (also 0) or
	// crypto.SHA256. What is inside the staples does not depend on it.
	StapleNames crypto.Hash

	// RSA gives the authorities of the signing chain RSA 2048 keys, as AWS's
	// have; to make them takes some tenths of a second. Otherwise they have
	// ECDSA P-256 keys. The signer's own key is RSA in any case.
	RSA bool

	// SignerKey is the key of every region's signer, RSA, and of identity
	// documents. Nil means a new RSA 2048 key for each. Tests that start many
	// servers share one.
	SignerKey crypto.Signer

	// Faults are on order from the start, as InjectFault takes them.
	Faults []string

	// Seed is what the randomness of faults begins with.
	Seed uint64

	// StateFile keeps everything that changes, and the keys of the signing
	// chain, across restarts. What was answered is in it. It belongs to the
	// Server until Close. Empty means that nothing is kept.
	StateFile string

	// CloudTrail gets one JSON object a line for each call of the API. Nil
	// means that none is written.
	CloudTrail io.Writer

	// APIAddress is where Listen binds the API; empty means a free port of
	// 127.0.0.1. The addresses of the metadata service are the instances' own.
	APIAddress string

	// GatewayAddress is where Listen binds the serial console gateway; empty
	// means a free port of 127.0.0.1 where an instance has a Serial, and
	// none where none has.
	GatewayAddress string

	// GatewayLog gets a line for each GatewayEvent. Nil means that none is
	// written.
	GatewayLog io.Writer

	// SerialPause is how long after a serial console session no other can
	// start. 0 means 30 seconds, as on AWS; less than 0 none.
	SerialPause time.Duration

	// AllowRemote permits addresses that are not loopback.
	AllowRemote bool

	// RequestLog gets a line for each request that was answered. Nil means that
	// none is written.
	RequestLog io.Writer

	// Serving is called by Serve once everything serves.
	Serving func()

	// KeyPairs are imported at the start, for the account of the first credential
	// in the region of the first instance. One that the state file has already
	// must be the same.
	KeyPairs []KeyPair

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// What a Server has unless told otherwise.
const (
	DefaultInstanceID   = world.DefaultInstanceID
	DefaultZone         = world.DefaultZone
	DefaultInstanceType = world.DefaultInstanceType
	MaxUserData         = world.MaxUserData // bytes
	DefaultAccessKey    = "test"
	DefaultSecretKey    = "test"
	DefaultCallerARN    = "arn:aws:iam::123456789012:user/test"
)

// An Instance is an emulated EC2 instance; see the package world.
type (
	Instance   = world.Instance
	State      = world.State
	Tokens     = world.Tokens
	Tag        = world.Tag
	Credential = api.Credential
	Deny       = api.Deny
)

// A KeyPair is a public key to import into EC2, in any form that ImportKeyPair
// takes.
type KeyPair struct {
	Name     string
	Material []byte
}

// The states of an instance, and the values of HttpTokens.
const (
	Pending      = world.Pending
	Running      = world.Running
	ShuttingDown = world.ShuttingDown
	Terminated   = world.Terminated
	Stopping     = world.Stopping
	Stopped      = world.Stopped

	TokensRequired = world.TokensRequired
	TokensOptional = world.TokensOptional
)

// ErrNotLoopback is in the error of New for an address that only
// Options.AllowRemote permits.
var ErrNotLoopback = world.ErrNotLoopback

// A Server holds all that is emulated. Its handlers work without Listen, for
// use in-process; its methods may be called from any goroutine.
type Server struct {
	options      Options
	world        *world.World
	gate         *api.Gate
	ec2          ec2.Backend
	faults       *fault.Orders
	signers      *signing.Signers
	metadata     *metadata.Service
	transport    *fault.Transport
	control      http.Handler
	trailMu      sync.Mutex     // of Options.CloudTrail
	hostKey      crypto.Signer  // of the gateway; nil where there never was one
	gateway      *serialGateway // nil where there is none
	gatewayLogMu sync.Mutex     // of Options.GatewayLog
	log          requestLog
	snapshots    snapshots
	serving      atomic.Bool // everything that was bound

	// The lock of the world guards these, and the mutable parts of machines.
	api       net.Listener
	serveMore func(*machine)  // while serving
	run       context.Context // of Serve; nil before

	instancesMu sync.RWMutex
	instances   []*machine // in the order in which they came
}

// A machine is an instance and what the emulator has open for it.
type machine struct {
	*world.Machine

	// The lock of the world guards these.
	listener, listener6 net.Listener
	stop                context.CancelFunc // of serving them
	line                *gateway.Line
}

// New returns a Server, or an error that says what is wrong with the options.
// It makes the keys and certificates, or reads them from the state file, and
// binds no address.
func New(options Options) (*Server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Instances == nil {
		options.Instances = []Instance{{ID: DefaultInstanceID}}
	}
	if options.APIAddress == "" {
		options.APIAddress = world.FreeLoopbackPort
	}
	if h := options.StapleNames; h != 0 && h != crypto.SHA1 && h != crypto.SHA256 {
		return nil, fmt.Errorf("staples are named by SHA-1 or SHA-256, not by %v", h)
	}
	if err := world.CheckAddress(options.APIAddress, options.AllowRemote); err != nil {
		return nil, err
	}
	s := &Server{
		options:   options,
		world:     world.New(options.Now),
		transport: fault.NewTransport(options.Seed),
	}
	s.control = s.newControl()
	s.faults = fault.NewOrders(s.now, faultRules())
	s.signers = signing.New(signing.Options{
		World: s.world, Faults: s.faults, RSA: options.RSA, Key: options.SignerKey, StapleNames: options.StapleNames,
	})
	s.metadata = metadata.New(metadata.Options{World: s.world, Signers: s.signers, Faults: s.faults, ConnectionClose: options.ConnectionClose})
	if err := s.newGate(); err != nil {
		return nil, err
	}
	if err := s.addInstances(); err != nil {
		return nil, err
	}
	if err := s.newGateway(); err != nil {
		return nil, err
	}
	for _, text := range options.Faults {
		if err := s.InjectFault(text); err != nil {
			return nil, err
		}
	}
	if err := s.restore(); err != nil {
		return nil, err
	}
	if err := s.seed(); err != nil {
		s.world.Close()
		return nil, err
	}
	s.snapshots.start = s.takeSnapshot()
	return s, nil
}

// newGate puts the services together.
func (s *Server) newGate() error {
	keys := s.options.AccessKeys
	if keys == nil && s.options.Credentials == nil {
		keys = []Credential{{KeyID: DefaultAccessKey, Secret: DefaultSecretKey, ARN: DefaultCallerARN}}
	}
	credentials, err := api.NewCredentials(keys, s.options.Credentials)
	if err != nil {
		return err
	}
	s.ec2 = ec2.Backend{
		World: s.world, Permissive: s.options.Permissive, SerialAccess: s.options.SerialAccess, Launched: s.launched, Terminated: s.terminated,
	}
	s.gate = &api.Gate{
		Services: []*api.Service{
			eic.Service(eic.Backend{
				World: s.world, Permissive: s.options.Permissive, SerialAccess: s.options.SerialAccess, SerialPause: s.serialPause(), Push: s.pushed,
			}),
			ec2.Service(s.ec2),
			lightsail.Service(lightsail.Backend{World: s.world, Permissive: s.options.Permissive}),
			sts.Service(),
		},
		Now: s.now, HostNow: s.world.HostNow, Skew: s.skew, Credentials: credentials, Temporary: s.metadata.Credential, Deny: s.options.Deny, Limiter: api.NewLimiter(s.options.Rate),
		Before: s.orderedError, Done: s.called,
	}
	s.gate.Ready()
	return nil
}

// seed imports the key pairs of the options.
func (s *Server) seed() error {
	account := api.AccountOf(DefaultCallerARN)
	if len(s.options.AccessKeys) > 0 {
		account = api.AccountOf(s.options.AccessKeys[0].ARN)
	}
	where := world.Scope{Account: account, Region: s.all()[0].Region}
	for _, pair := range s.options.KeyPairs {
		if err := s.ec2.Seed(where, pair.Name, pair.Material); err != nil {
			return fmt.Errorf("key pair %s: %w", pair.Name, err)
		}
	}
	return nil
}

// Operations returns what is emulated of the API, as IAM writes it:
// SERVICE:OPERATION.
func (s *Server) Operations() []string {
	var all []string
	for _, service := range s.gate.Services {
		for _, op := range service.Operations {
			all = append(all, service.Name+":"+op.Name)
		}
	}
	return all
}

// addInstances adds those that the options name.
func (s *Server) addInstances() error {
	s.world.Lock()
	defer s.world.Unlock()
	for _, instance := range s.options.Instances {
		m, err := world.NewMachine(instance, s.options.AllowRemote)
		if err != nil {
			return err
		}
		if err := s.world.Add(m); err != nil {
			return err
		}
		s.instances = append(s.instances, &machine{Machine: m})
	}
	if len(s.instances) == 0 {
		return fmt.Errorf("at least one instance is needed")
	}
	return nil
}

// all returns the instances, in the order in which they came.
func (s *Server) all() []*machine {
	s.instancesMu.RLock()
	defer s.instancesMu.RUnlock()
	return s.instances
}

// launched makes an instance of a call ready to be used. It needs the lock of the
// world.
func (s *Server) launched(tx *world.Tx, launched *world.Machine) error {
	m := &machine{Machine: launched}
	if err := s.signers.Issue(tx, launched); err != nil {
		return err
	}
	if s.api != nil {
		if err := s.bindMetadata(m); err != nil {
			return err
		}
	}
	s.instancesMu.Lock()
	s.instances = append(slices.Clip(s.instances), m)
	s.instancesMu.Unlock()
	tx.Undo(func() { s.forget(m) })
	if s.serveMore != nil {
		s.serveMore(m)
	}
	return nil
}

// terminated ends what an instance has open. It needs the lock of the world.
func (s *Server) terminated(m *world.Machine) {
	if one := s.machine(m.ID); one != nil {
		s.cutConsole(one, errInstanceTerminated)
	}
}

// now is the time on the emulator's clock.
func (s *Server) now() time.Time { return s.world.Now() }

// Advance moves the emulator's clock ahead of Options.Now by d more than it is,
// or back where d is negative. Clients keep theirs, by which signatures of calls
// are judged.
func (s *Server) Advance(d time.Duration) {
	s.world.Advance(d)
	s.clockMoved()
}

// Instances returns the instances as they are now, derived fields filled in.
func (s *Server) Instances() []Instance {
	s.world.Lock()
	defer s.world.Unlock()
	var all []Instance
	for _, m := range s.world.Machines() {
		all = append(all, m.Instance)
	}
	return all
}

// IMDSHandler returns the metadata service of one instance: version 2, and
// version 1 beside it where the instance has TokensOptional. For an instance
// that does not exist it answers 404 to everything.
func (s *Server) IMDSHandler(instanceID string) http.Handler {
	var on *world.Machine
	if m := s.machine(instanceID); m != nil {
		on = m.Machine
	}
	return s.metadata.Handler(on, func(h http.Handler) http.Handler {
		return s.logged(instanceID, s.withFaults(fault.IMDS, instanceID, h))
	})
}

// RotateSigners gives every region a signer with a new key. Sessions of the
// metadata service that exist go on with the signer that they began with,
// records included, so that no login fails; with atOnce they do not, and
// whoever has kept the old chain finds that it no longer fits the records.
func (s *Server) RotateSigners(atOnce bool) error { return s.signers.Rotate(atOnce) }

// RootsPEM returns what an agent has to trust: the self-signed root.
func (s *Server) RootsPEM() []byte { return s.signers.RootsPEM() }

// IdentityPEM returns the certificates that instance identity documents are signed
// with: RSA for signature and rsa2048, DSA for pkcs7, and DSA for dsa2048.
func (s *Server) IdentityPEM() ([]byte, error) {
	by, err := s.signers.Identity()
	if err != nil {
		return nil, err
	}
	return by.PEM(), nil
}

// SetState changes the state of an instance.
func (s *Server) SetState(instanceID string, state State) error {
	if !state.Valid() {
		return fmt.Errorf("%q is not a state of an instance", state)
	}
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.SetState(m.Machine, state)
		return nil
	})
}

// SetTokens says whether the metadata service of an instance insists on
// version 2.
func (s *Server) SetTokens(instanceID string, tokens Tokens) error {
	if tokens != TokensRequired && tokens != TokensOptional {
		return fmt.Errorf("tokens are %s or %s, not %q", TokensRequired, TokensOptional, tokens)
	}
	return s.change(instanceID, world.Changes{Tokens: &tokens})
}

// SetMetadataOff turns the metadata service of an instance off, or on again.
func (s *Server) SetMetadataOff(instanceID string, off bool) error {
	return s.change(instanceID, world.Changes{MetadataOff: &off})
}

// SetOldBIOS says whether the BIOS of an instance is too old for the serial
// console.
func (s *Server) SetOldBIOS(instanceID string, old bool) error {
	return s.change(instanceID, world.Changes{OldBIOS: &old})
}

// SetUserData sets the user data of an instance; "" means none.
func (s *Server) SetUserData(instanceID, data string) error {
	return s.change(instanceID, world.Changes{UserData: &data})
}

func (s *Server) change(instanceID string, c world.Changes) error {
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		tx.Change(m.Machine, c)
		return nil
	})
}

// update changes the world about one instance.
func (s *Server) update(instanceID string, f func(*world.Tx, *machine) error) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	return s.world.Update(func(tx *world.Tx) error { return f(tx, m) })
}

// machine returns nil when there is no such instance.
func (s *Server) machine(instanceID string) *machine {
	for _, m := range s.all() {
		if m.ID == instanceID {
			return m
		}
	}
	return nil
}

func (s *Server) lookup(instanceID string) (*machine, error) {
	m := s.machine(instanceID)
	if m == nil {
		return nil, fmt.Errorf("there is no instance %q", instanceID)
	}
	return m, nil
}
