// Package emulator is the AWS side of EC2 Instance Connect on one machine: the
// API that takes pushed keys, and the instance metadata service that serves
// them, signed by a certificate authority of its own. It is for tests and
// demonstrations, and guards nothing: it holds no secret of anybody's.
package emulator

import (
	"crypto"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/emulator/sigv4"
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
	// chain, across restarts. What was answered is in it. Empty means that
	// nothing is kept.
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

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// What a Server has unless told otherwise.
const (
	DefaultInstanceID   = "i-0123456789abcdef0"
	DefaultZone         = "us-east-1a"
	DefaultInstanceType = "t3.micro"
	DefaultAccessKey    = "test"
	DefaultSecretKey    = "test"
	DefaultCallerARN    = "arn:aws:iam::123456789012:user/test"
)

// A Server holds all that is emulated. Its handlers work without Listen, for
// use in-process; its methods may be called from any goroutine.
type Server struct {
	options        Options
	started        time.Time
	instances      []*machine // in the order of Options.Instances, never changed
	hierarchy      *hierarchy
	credentials    map[string]Credential
	verifier       *sigv4.Verifier
	services       map[string]*service
	operations     map[string]*operation
	limiter        *limiter
	faultKinds     map[string]*faultKind
	faults         fault.Set
	transport      *fault.Transport
	control        http.Handler
	trailMu        sync.Mutex // of Options.CloudTrail
	state          stateFile
	hostKey        crypto.Signer  // of the gateway; nil where there never was one
	gateway        *serialGateway // nil where there is none
	gatewayLogMu   sync.Mutex     // of Options.GatewayLog
	offset         atomic.Int64   // of the clock, see Advance
	foreign        func() (*hierarchy, error)
	foreignSigner  func() (*pki.Authority, error)
	identitySigner func() (*pki.Authority, error)

	mu      sync.Mutex // guards what follows, and the machines' mutable parts
	regions map[scope]*regionState
	log     requestLog
	api     net.Listener
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
		options.APIAddress = freeLoopbackPort
	}
	if h := options.StapleNames; h != 0 && h != crypto.SHA1 && h != crypto.SHA256 {
		return nil, fmt.Errorf("staples are named by SHA-1 or SHA-256, not by %v", h)
	}
	if err := checkAddress(options.APIAddress, options.AllowRemote); err != nil {
		return nil, err
	}
	s := &Server{
		options:   options,
		started:   options.Now(),
		verifier:  sigv4.NewVerifier(),
		services:  newServices(),
		limiter:   newLimiter(options.Rate),
		transport: fault.NewTransport(options.Seed),
		regions:   make(map[scope]*regionState),
		state:     stateFile{path: options.StateFile},
	}
	s.operations = s.newOperations()
	s.control = s.newControl()
	s.foreign = sync.OnceValues(func() (*hierarchy, error) { return newHierarchy(s.started, false) })
	s.foreignSigner = sync.OnceValues(func() (*pki.Authority, error) {
		return s.hierarchy.issueLeaf(foreignRegion, foreignDomain, nil, s.started, nil)
	})
	s.identitySigner = sync.OnceValues(func() (*pki.Authority, error) { return newIdentitySigner(options.SignerKey, s.started) })
	s.faultKinds = make(map[string]*faultKind)
	for _, k := range faultTable() {
		s.faultKinds[k.Name] = &k
	}
	var err error
	if s.credentials, err = newCredentials(options); err != nil {
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
	return s, nil
}

func (s *Server) addInstances() error {
	for _, instance := range s.options.Instances {
		m, err := newMachine(instance, s.options.AllowRemote)
		if err != nil {
			return err
		}
		if s.machine(m.ID) != nil {
			return fmt.Errorf("instance %s is given twice", m.ID)
		}
		m.launched = s.started
		s.instances = append(s.instances, m)
	}
	if len(s.instances) == 0 {
		return fmt.Errorf("at least one instance is needed")
	}
	return nil
}

// issueSigners gives each machine the signer of its region, those that saved
// has already as they are.
func (s *Server) issueSigners(saved map[string]*signer) error {
	for _, m := range s.instances {
		name := m.Region + " " + m.Domain
		if saved[name] == nil {
			leaf, err := s.hierarchy.issueLeaf(m.Region, m.Domain, s.options.SignerKey, s.started, nil)
			if err != nil {
				return err
			}
			saved[name] = &signer{region: m.Region, domain: m.Domain, generations: []*generation{{since: s.started, leaf: leaf}}}
		}
		m.signer = saved[name]
		m.signer.names = s.options.StapleNames
	}
	return nil
}

// now is the time on the emulator's clock.
func (s *Server) now() time.Time { return s.options.Now().Add(time.Duration(s.offset.Load())) }

// Advance moves the emulator's clock ahead of Options.Now by d more than it is,
// or back where d is negative. Clients keep their own.
func (s *Server) Advance(d time.Duration) {
	s.offset.Add(int64(d))
	s.clockMoved()
}

// Instances returns the instances as they are now, derived fields filled in.
func (s *Server) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Instance
	for _, m := range s.instances {
		all = append(all, m.Instance)
	}
	return all
}

// SetState changes the state of an instance.
func (s *Server) SetState(instanceID string, state State) error {
	if !state.valid() {
		return fmt.Errorf("%q is not a state of an instance", state)
	}
	return s.change(instanceID, changes{State: &state})
}

// SetTokens says whether the metadata service of an instance insists on
// version 2.
func (s *Server) SetTokens(instanceID string, tokens Tokens) error {
	if tokens != TokensRequired && tokens != TokensOptional {
		return fmt.Errorf("tokens are %s or %s, not %q", TokensRequired, TokensOptional, tokens)
	}
	return s.change(instanceID, changes{Tokens: &tokens})
}

// SetMetadataOff turns the metadata service of an instance off, or on again.
func (s *Server) SetMetadataOff(instanceID string, off bool) error {
	return s.change(instanceID, changes{MetadataOff: &off})
}

// SetOldBIOS says whether the BIOS of an instance is too old for the serial
// console.
func (s *Server) SetOldBIOS(instanceID string, old bool) error {
	return s.change(instanceID, changes{OldBIOS: &old})
}

func (s *Server) change(instanceID string, c changes) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	m.apply(c)
	s.mu.Unlock()
	return s.persist()
}

// machine returns nil when there is no such instance.
func (s *Server) machine(instanceID string) *machine {
	for _, m := range s.instances {
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
