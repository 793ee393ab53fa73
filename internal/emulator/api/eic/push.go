package eic

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
	"github.com/eic-agent/eic-agent/internal/fingerprint"
)

// osUserPattern is that of botocore's model without its look-ahead, which only
// repeats the limits of the length. zoneMemberPattern is the model's; it does
// not admit Local and Wavelength Zones.
var (
	osUserPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?|[0-9]{1,32}[A-Za-z@._-][A-Za-z0-9@._-]*[A-Za-z0-9$_-]?)$`)
	})
	zoneMemberPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(\w+-){2,3}\d+\w+$`)
	})
)

// A pushOutput is the answer of both operations.
type pushOutput struct {
	RequestId string
	Success   bool
}

// invalidArgs words its message as the real service does. That AWS answers so
// to what the model does not admit, and not with ValidationException, is not
// confirmed.
func invalidArgs(format string, args ...any) *api.Error {
	return api.ClientError("InvalidArgsException",
		"Invalid input parameter received for Illegal argument exception: "+format, args...)
}

// pushInput reads the members that both operations have.
func (b Backend) pushInput(c *api.Call) (instanceID, line string, err error) {
	instanceID, err = c.Input.Check(api.Constraint{Name: "InstanceId", Required: true, Min: 10, Max: 32, Match: world.InstanceIDPattern().MatchString}, invalidArgs)
	if err != nil {
		return "", "", err
	}
	limits := api.Constraint{Name: "SSHPublicKey", Required: true, Min: 80, Max: 4096}
	if b.Permissive {
		limits.Min, limits.Max = 1, 0
	}
	key, err := c.Input.Check(limits, invalidArgs)
	if err != nil {
		return "", "", err
	}
	line, ok := b.keyLine(key)
	if !ok {
		return "", "", invalidArgs("SSH Public key is invalid")
	}
	return instanceID, line, nil
}

// sendSSHPublicKey answers a zone that is not the instance's as AWS answers an
// instance that does not exist.
func (b Backend) sendSSHPublicKey(c *api.Call) (any, error) {
	id, line, err := b.pushInput(c)
	if err != nil {
		return nil, err
	}
	user, err := c.Input.Check(api.Constraint{Name: "InstanceOSUser", Required: true, Min: 1, Max: 32, Match: osUserPattern().MatchString}, invalidArgs)
	if err != nil {
		return nil, err
	}
	zone, err := c.Input.Check(api.Constraint{Name: "AvailabilityZone", Min: 6, Max: 32, Match: zoneMemberPattern().MatchString}, invalidArgs)
	if err != nil {
		return nil, err
	}
	return pushOutput{c.RequestID, true}, b.Update(func(tx *world.Tx) error {
		m, err := b.connectable(c, id)
		if err != nil {
			return err
		}
		if zone != "" && zone != m.Zone {
			return errInstanceNotFound()
		}
		return b.Push(tx, m, &world.Record{User: user}, line, c.Caller.ARN, c.RequestID, c.Now)
	})
}

// sendSerialKey publishes the key for the login name that the gateway uses.
func (b Backend) sendSerialKey(c *api.Call) (any, error) {
	id, line, err := b.pushInput(c)
	if err != nil {
		return nil, err
	}
	port, err := c.Input.Number("SerialPort")
	if err != nil {
		return nil, err
	}
	if port != 0 {
		return nil, invalidArgs("SerialPort %d is not 0", port)
	}
	return pushOutput{c.RequestID, true}, b.Update(func(tx *world.Tx) error {
		if !b.SerialAccessOf(c.Scope(), b.SerialAccess) {
			return api.Exception("SerialConsoleAccessDisabledException")
		}
		m, err := b.connectable(c, id)
		if err != nil {
			return err
		}
		if err := b.serialReady(m); err != nil {
			return err
		}
		r := &world.Record{User: world.SerialUser(m.ID, port), Console: true}
		return b.Push(tx, m, r, line, c.Caller.ARN, c.RequestID, c.Now)
	})
}

// serialReady says why a running instance can have no serial console session.
func (b Backend) serialReady(m *world.Machine) error {
	switch {
	case !world.Nitro(m.Type):
		return api.ClientError("EC2InstanceTypeInvalidException", "The instance type %s is not supported for connecting via the serial console. Only Nitro instance types are currently supported.", m.Type)
	case m.OldBIOS:
		return api.Exception("SerialConsoleSessionUnsupportedException")
	case b.SerialBusy(m, b.SerialPause):
		return api.Exception("SerialConsoleSessionLimitExceededException")
	}
	return nil
}

func errInstanceNotFound() *api.Error {
	return api.ClientError("EC2InstanceNotFoundException", "Instance not found")
}

// connectable returns a running instance of the call's region. It needs the lock.
func (b Backend) connectable(c *api.Call, instanceID string) (*world.Machine, error) {
	m := b.Machine(instanceID)
	if m == nil || m.Region != c.Region {
		return nil, errInstanceNotFound()
	}
	if m.Account != "" && m.Account != c.Caller.Account {
		return nil, api.Exception("AuthException")
	}
	if m.State != world.Running {
		return nil, api.ClientError("EC2InstanceStateInvalidException", "The instance is %s; it must be running", m.State)
	}
	return m, nil
}

// keyLine returns the line to publish. An OpenSSH line is published as pushed,
// comment included, without a final newline; RFC 4716 form, which EC2 Instance
// Connect takes for RSA keys, becomes a line without a comment.
func (b Backend) keyLine(text string) (line string, ok bool) {
	key, err := fingerprint.ParseKey([]byte(text))
	if err == nil && key.Form == fingerprint.RFC4716 {
		return key.Line(), key.Type() == ssh.KeyAlgoRSA && b.connectKey(key)
	}
	line = strings.TrimRight(text, "\r\n")
	if line == "" || line[0] == '#' || strings.ContainsAny(line, "\r\n") {
		return "", false
	}
	if b.Permissive {
		return line, true
	}
	return line, err == nil && key.Form == fingerprint.OpenSSH && line[0] != ' ' && b.connectKey(key)
}

// connectKey reports whether EC2 Instance Connect takes a key: ED25519, or RSA of
// 2048 or 4096 bits. 3072 bits, which ssh-keygen makes, are in no list, but the
// User Guide's example of a push makes such a key.
func (b Backend) connectKey(key fingerprint.Key) bool {
	switch key.Type() {
	case ssh.KeyAlgoED25519:
		return true
	case ssh.KeyAlgoRSA:
		return slices.Contains([]int{2048, 3072, 4096}, key.RSABits()) || b.Permissive
	}
	return b.Permissive
}

// trailSSHKey is the shape that CloudTrail is documented to have for the
// service.
func trailSSHKey(c *api.Call) any {
	shape := make(map[string]any)
	for member, name := range map[string]string{"InstanceId": "instanceId", "InstanceOSUser": "osUser", "AvailabilityZone": "availabilityZone", "SerialPort": "serialPort"} {
		if value, ok := c.Input[member]; ok {
			shape[name] = value
		}
	}
	if key, ok := c.Input["SSHPublicKey"]; ok {
		shape["SSHKey"] = map[string]any{"publicKey": key}
	}
	return shape
}
