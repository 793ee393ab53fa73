package emulator

import (
	"crypto"
	"io"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
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
	// verified: knowing the ID is sufficient.
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
