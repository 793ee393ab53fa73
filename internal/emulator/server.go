// Package emulator is the AWS side of EC2 Instance Connect on one machine: the
// API that takes pushed keys, and the instance metadata service that serves
// them, signed by a certificate authority of its own. It is for tests and
// demonstrations, and guards nothing: it holds no secret of anybody's.
package emulator

import (
	"crypto"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"
)

// Options configure a Server. The zero value is a server with one instance and
// one credential on free loopback ports.
type Options struct {
	// Instances that exist. Nil means one, DefaultInstanceID in us-east-1a.
	Instances []Instance

	// Credentials maps an access key id to the ARN of its IAM principal. Nil
	// means DefaultAccessKey for DefaultCallerARN.
	Credentials map[string]string

	// Permissive lets keys of every type, size and length be pushed, unparsed
	// and as they are, as long as they are one line.
	Permissive bool

	// ConnectionClose makes the metadata service close each connection after
	// one response, as the real one has been seen to.
	ConnectionClose bool

	// StapleNames is the hash that names staples: crypto.SHA1 (also 0) or
	// crypto.SHA256. What is inside the staples does not depend on it.
	StapleNames crypto.Hash

	// SignerKey is the key of every region's signer, RSA. Nil means a new RSA
	// 2048 key for each region. Tests that start many servers share one.
	SignerKey crypto.Signer

	// APIAddress is where Listen binds the API; empty means a free port of
	// 127.0.0.1. The addresses of the metadata service are the instances' own.
	APIAddress string

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
	DefaultCallerARN    = "arn:aws:iam::123456789012:user/test"
)

// A Server holds all that is emulated. Its handlers work without Listen, for
// use in-process; its methods may be called from any goroutine.
type Server struct {
	options   Options
	started   time.Time
	instances []*machine // in the order of Options.Instances, never changed
	hierarchy *hierarchy

	mu     sync.Mutex // guards what follows, and the machines' mutable parts
	log    []Request
	logged int
	api    net.Listener
}

// New returns a Server, or an error that says what is wrong with the options.
// It makes the keys and certificates, and binds no address.
func New(options Options) (*Server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Instances == nil {
		options.Instances = []Instance{{ID: DefaultInstanceID}}
	}
	if options.Credentials == nil {
		options.Credentials = map[string]string{DefaultAccessKey: DefaultCallerARN}
	}
	options.Credentials = maps.Clone(options.Credentials)
	if options.APIAddress == "" {
		options.APIAddress = freeLoopbackPort
	}
	if h := options.StapleNames; h != 0 && h != crypto.SHA1 && h != crypto.SHA256 {
		return nil, fmt.Errorf("staples are named by SHA-1 or SHA-256, not by %v", h)
	}
	if err := checkAddress(options.APIAddress, options.AllowRemote); err != nil {
		return nil, err
	}
	s := &Server{options: options, started: options.Now()}
	for _, instance := range options.Instances {
		m, err := newMachine(instance, options.AllowRemote)
		if err != nil {
			return nil, err
		}
		if s.machine(m.ID) != nil {
			return nil, fmt.Errorf("instance %s is given twice", m.ID)
		}
		s.instances = append(s.instances, m)
	}
	if len(s.instances) == 0 {
		return nil, fmt.Errorf("at least one instance is needed")
	}
	var err error
	if s.hierarchy, err = newHierarchy(s.started); err != nil {
		return nil, err
	}
	if err := s.issueSigners(); err != nil {
		return nil, err
	}
	return s, nil
}

// issueSigners gives each machine the signer of its region.
func (s *Server) issueSigners() error {
	signers := make(map[string]*signer)
	for _, m := range s.instances {
		name := m.Region + " " + m.Domain
		if signers[name] == nil {
			made, err := s.hierarchy.newSigner(m.Region, m.Domain, s.options.SignerKey, s.options.StapleNames, s.started)
			if err != nil {
				return err
			}
			signers[name] = made
		}
		m.signer = signers[name]
	}
	return nil
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
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	if !state.valid() {
		return fmt.Errorf("%q is not a state of an instance", state)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.State = state
	return nil
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
