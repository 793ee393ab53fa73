// Package eictest starts the AWS side of EC2 Instance Connect inside a Go test:
// the API that takes pushed keys, EC2's and Lightsail's key pairs, and the
// metadata service of each instance, on loopback ports of their own.
//
//	func TestPush(t *testing.T) {
//		aws := eictest.Start(t, eictest.Options{})
//		client := ec2instanceconnect.New(ec2instanceconnect.Options{
//			BaseEndpoint: aws.Endpoint(), Region: aws.Region(), Credentials: ...,
//		})
//		...
//	}
//
// It guards nothing and is not for production.
package eictest

import (
	"context"
	"crypto"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// Options say what to start. The zero value is one running instance in
// us-east-1a and the credential test/test.
type Options struct {
	// Instances that exist; the first one is what the methods without an
	// instance ID are about. Nil means one, of the ID
	// i-0123456789abcdef0.
	Instances []Instance

	// Credentials that calls may be signed with. Nil means test/test, which is
	// arn:aws:iam::123456789012:user/test.
	Credentials []Credential

	// Faults that are on order from the start, such as "staple-revoked" or
	// "status=503,service=imds,share=0.5". `eic-emulator faults` lists them.
	Faults []string

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// SignerKey is the RSA key that signs records. Nil means a new one, which
	// takes longer to make than all else: tests that start many emulators
	// may share one.
	SignerKey crypto.Signer
}

// An Instance is one emulated EC2 instance. An empty field gets the default
// that its comment names.
type Instance struct {
	ID      string // must be set
	Zone    string // us-east-1a
	Type    string // t3.micro
	State   string // running; or pending, stopping, stopped, shutting-down, terminated
	KeyName string // of the imported key pair that is its launch key; none
}

// A Credential is an access key and the IAM principal that holds it.
type Credential struct {
	KeyID, Secret, SessionToken string
	ARN                         string
}

// An Emulator runs until its test ends.
type Emulator struct {
	t      testing.TB
	server *emulator.Server
	first  string
	key    Credential
}

// A Request is one that the emulator got.
type Request struct {
	Instance string // whose metadata service was asked; empty: the API
	Method   string
	Path     string
}

// An Exchange is a request with what became of it.
type Exchange struct {
	Time       time.Time         // on the host's clock
	Service    string            // signing name, such as ec2-instance-connect; imds for a metadata service
	Instance   string            // whose metadata service was asked; empty: the API
	Method     string            // of HTTP
	Path       string            // unescaped, without a query; its first KiB
	Operation  string            // such as SendSSHPublicKey; empty for metadata
	Region     string            // that was signed for
	Parameters map[string]string // of a key its fingerprint; user data is left out
	Caller     string            // ARN; empty where the signature was not accepted
	AccessKey  string            // ID
	RequestID  string            // as in the answer
	Status     int               // of HTTP; 0: not answered
	Error      string            // name of the exception; empty on success
	Message    string            // of the exception
	Duration   time.Duration     // to the microsecond
}

// Start starts an emulator. It ends the test when it cannot.
func Start(t testing.TB, o Options) *Emulator {
	t.Helper()
	options := emulator.Options{Faults: o.Faults, Now: o.Now, SignerKey: o.SignerKey}
	for _, i := range o.Instances {
		options.Instances = append(options.Instances, emulator.Instance{
			ID: i.ID, Zone: i.Zone, Type: i.Type, State: emulator.State(i.State), KeyName: i.KeyName,
		})
	}
	for _, c := range o.Credentials {
		options.AccessKeys = append(options.AccessKeys, emulator.Credential{KeyID: c.KeyID, Secret: c.Secret, Token: c.SessionToken, ARN: c.ARN})
	}
	server, err := emulator.New(options)
	if err != nil {
		t.Fatalf("eictest: %v", err)
	}
	if err := server.Listen(); err != nil {
		t.Fatalf("eictest: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("eictest: %v", err)
		}
	})
	key := Credential{KeyID: emulator.DefaultAccessKey, Secret: emulator.DefaultSecretKey}
	if len(o.Credentials) > 0 {
		key = o.Credentials[0]
	}
	return &Emulator{t: t, server: server, first: server.Instances()[0].ID, key: key}
}

// Endpoint returns the URL of the API, which is the same for every service:
// what BaseEndpoint or AWS_ENDPOINT_URL is to be.
func (e *Emulator) Endpoint() *string {
	url := e.server.APIURL()
	return &url
}

// Region returns the region of the first instance.
func (e *Emulator) Region() string { return e.server.Instances()[0].Region }

// InstanceID returns the ID of the first instance.
func (e *Emulator) InstanceID() string { return e.first }

// Metadata returns the URL of the metadata service of the first instance.
func (e *Emulator) Metadata() string { return e.server.IMDSURL(e.first) }

// MetadataOf returns the URL of the metadata service of an instance.
func (e *Emulator) MetadataOf(instanceID string) string { return e.server.IMDSURL(instanceID) }

// Env returns the environment variables that point an AWS CLI or SDK of any
// language here, with the first credential, for a process that is started with
// them.
func (e *Emulator) Env() []string {
	env := []string{
		"AWS_ENDPOINT_URL=" + e.server.APIURL(),
		"AWS_ACCESS_KEY_ID=" + e.key.KeyID,
		"AWS_SECRET_ACCESS_KEY=" + e.key.Secret,
		"AWS_DEFAULT_REGION=" + e.Region(),
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + e.Metadata(),
	}
	if e.key.SessionToken != "" {
		env = append(env, "AWS_SESSION_TOKEN="+e.key.SessionToken)
	}
	return env
}

// RootsPEM returns the root that the signing chain leads to.
func (e *Emulator) RootsPEM() []byte { return e.server.RootsPEM() }

// WriteAgentConfig writes a configuration for eic-agent that trusts the
// emulator and takes its first instance for the machine, the roots beside it.
func (e *Emulator) WriteAgentConfig(path string) {
	e.t.Helper()
	e.check(e.server.WriteConfig(path))
}

// Push publishes a key for a user of the first instance, as the API would for
// the caller.
func (e *Emulator) Push(user, key, caller string) {
	e.t.Helper()
	_, err := e.server.Push(e.first, user, key, caller)
	e.check(err)
}

// Inject orders a fault; see Options.Faults.
func (e *Emulator) Inject(fault string) {
	e.t.Helper()
	e.check(e.server.InjectFault(fault))
}

// ClearFaults takes back every fault.
func (e *Emulator) ClearFaults() { e.server.ClearFaults("") }

// SetState changes the state of an instance.
func (e *Emulator) SetState(instanceID, state string) {
	e.t.Helper()
	e.check(e.server.SetState(instanceID, emulator.State(state)))
}

// SetMetadata makes the metadata service of an instance serve body at path
// below /latest/meta-data/; a nil body makes it a path that does not exist.
func (e *Emulator) SetMetadata(instanceID, path string, body []byte) {
	e.t.Helper()
	e.check(e.server.SetMetadata(instanceID, path, body))
}

// Advance moves the emulator's clock; the clients keep theirs.
func (e *Emulator) Advance(d time.Duration) { e.server.Advance(d) }

// RotateSigners gives every region's signer a new key; see the manual page.
func (e *Emulator) RotateSigners(atOnce bool) {
	e.t.Helper()
	e.check(e.server.RotateSigners(atOnce))
}

// StartSerialSession and EndSerialSession acquire and release the one serial
// console session that an instance has.
func (e *Emulator) StartSerialSession(instanceID string) {
	e.t.Helper()
	e.check(e.server.StartSerialSession(instanceID))
}

// EndSerialSession is described with StartSerialSession.
func (e *Emulator) EndSerialSession(instanceID string) {
	e.t.Helper()
	e.check(e.server.EndSerialSession(instanceID))
}

// Requests returns the latest requests, oldest first.
func (e *Emulator) Requests() []Request {
	var all []Request
	for _, r := range e.server.Requests() {
		all = append(all, Request(r))
	}
	return all
}

// Exchanges returns the latest requests with what became of them, oldest first, at
// most 4,096. Refused requests are among them. The log is that of GET /_emu/requests.
func (e *Emulator) Exchanges() []Exchange {
	var all []Exchange
	for _, x := range e.server.Exchanges() {
		all = append(all, Exchange{
			Time: x.Time, Service: x.Service, Instance: x.Instance, Method: x.Method, Path: x.Path, Operation: x.Operation,
			Region: x.Region, Parameters: x.Parameters, Caller: x.Caller, AccessKey: x.AccessKey, RequestID: x.RequestID,
			Status: x.Status, Error: x.Error, Message: x.Message, Duration: time.Duration(x.Duration * float64(time.Millisecond)).Round(time.Microsecond),
		})
	}
	return all
}

// Snapshot remembers the state under a name, for Reset: instances, key pairs, pushed
// keys, faults and clock. A later one of the same name replaces it; there can be 64.
func (e *Emulator) Snapshot(name string) {
	e.t.Helper()
	e.check(e.server.Snapshot(name))
}

// Reset restores the state of a Snapshot or, for "", that at Start. The signing chain
// and session tokens of the metadata service stay valid; the request log is emptied.
func (e *Emulator) Reset(snapshot string) {
	e.t.Helper()
	e.check(e.server.Reset(snapshot))
}

// ResetRequests forgets the requests so far.
func (e *Emulator) ResetRequests() { e.server.ResetRequests() }

func (e *Emulator) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("eictest: %v", err)
	}
}
