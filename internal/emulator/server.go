// Package emulator is the AWS side of EC2 Instance Connect on one machine: the
// API that takes pushed keys, and the instance metadata service that serves
// them, signed by a certificate authority of its own. It is for tests and
// demonstrations, and guards nothing: it holds no secret of anybody's.
package emulator

import (
	"context"
	"crypto"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/api/ec2"
	"github.com/eic-agent/eic-agent/internal/emulator/api/eic"
	"github.com/eic-agent/eic-agent/internal/emulator/api/lightsail"
	"github.com/eic-agent/eic-agent/internal/emulator/api/sts"
	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/control"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/metadata"
	"github.com/eic-agent/eic-agent/internal/emulator/requestlog"
	"github.com/eic-agent/eic-agent/internal/emulator/signing"
	"github.com/eic-agent/eic-agent/internal/emulator/trail"
	"github.com/eic-agent/eic-agent/internal/emulator/tunnel"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// A Server holds all that is emulated. Its handlers work without Listen, for
// use in-process; its methods may be called from any goroutine.
type Server struct {
	options   Options
	world     *world.World
	gate      *api.Gate
	ec2       ec2.Backend
	faults    *fault.Orders
	signers   *signing.Signers
	metadata  *metadata.Service
	transport *fault.Transport
	console   *console.Console
	tunnel    *tunnel.Service
	control   http.Handler
	trail     *trail.Log
	log       *requestlog.Log
	snapshots snapshots
	serving   atomic.Bool // everything that was bound

	// The lock of the world guards these, and the mutable parts of machines.
	api       net.Listener
	serveMore func(*machine)  // while serving
	run       context.Context // of Serve; nil before

	instancesMu sync.RWMutex
	instances   []*machine // in the order in which they came
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
		return nil, fmt.Errorf("staples are named by SHA-1 or SHA-256, not %v", h)
	}
	if err := world.CheckAddress(options.APIAddress, options.AllowRemote); err != nil {
		return nil, err
	}
	s := &Server{
		options:   options,
		world:     world.New(options.Now),
		transport: fault.NewTransport(options.Seed),
	}
	s.trail = &trail.Log{Out: options.CloudTrail}
	s.log = requestlog.New(requestlog.Options{
		Out: options.RequestLog, Now: s.world.HostNow, ServiceOf: func(r *http.Request) string { return s.gate.ServiceOf(r).Name },
	})
	s.control = control.New(s, s.log, FaultKinds())
	s.faults = fault.NewOrders(s.Now, faultRules())
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
	if err := s.newConsole(); err != nil {
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
		Now: s.Now, HostNow: s.world.HostNow, Skew: s.skew, Credentials: credentials, Temporary: s.metadata.Credential, Deny: s.options.Deny, Limiter: api.NewLimiter(s.options.Rate),
		Before: s.orderedError, Done: s.called,
	}
	s.gate.Ready()
	s.tunnel = &tunnel.Service{
		World: s.world, Gate: s.gate, Certificate: s.signers.ServerCertificate, Running: s.running,
		Calls: s.log.Handler("", http.HandlerFunc(s.serveCall)),
	}
	return nil
}

// newConsole makes the serial console of the instances that there are.
func (s *Server) newConsole() (err error) {
	s.console, err = console.New(console.Options{
		World: s.world, Faults: s.faults, Address: s.options.GatewayAddress, AllowRemote: s.options.AllowRemote,
		Pause: s.serialPause(), Access: s.options.SerialAccess, Log: s.options.GatewayLog,
	})
	return err
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

// Now returns the time on the emulator's clock.
func (s *Server) Now() time.Time { return s.world.Now() }

// Advance moves the emulator's clock ahead of Options.Now by d more than it is,
// or back where d is negative. Clients keep theirs, by which signatures of calls
// are judged.
func (s *Server) Advance(d time.Duration) {
	s.world.Advance(d)
	s.console.ClockMoved()
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
		return s.log.Handler(instanceID, s.withFaults(fault.IMDS, instanceID, h))
	})
}

// RotateSigners gives every region a signer with a new key. Sessions of the
// metadata service that exist go on with the signer that they began with,
// records included, so that no login fails; with atOnce they do not, and
// a client that kept the old chain finds that it no longer fits the records.
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
