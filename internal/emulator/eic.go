package emulator

import (
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

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

// eicOperations is API version 2018-04-02. AuthException is the answer to a
// caller of another account than the instance's, where the instance has one.
func (s *Server) eicOperations() []operation {
	resource := func(c *call) string {
		id, _, _ := c.input.text("InstanceId")
		return c.arn("ec2", "instance/"+id)
	}
	return []operation{
		{name: "SendSSHPublicKey", resource: resource, handle: s.sendSSHPublicKey, trail: trailSSHKey},
		{name: "SendSerialConsoleSSHPublicKey", resource: resource, handle: s.sendSerialKey, trail: trailSSHKey},
	}
}

// A pushOutput is the answer of both operations.
type pushOutput struct {
	RequestId string
	Success   bool
}

// invalidArgs words its message as the real service does. That AWS answers so
// to what the model does not admit, and not with ValidationException, is not
// confirmed.
func invalidArgs(format string, args ...any) *apiError {
	return clientError("InvalidArgsException",
		"Invalid input parameter received for Illegal argument exception: "+format, args...)
}

// pushInput reads the members that both operations have.
func (s *Server) pushInput(c *call) (instanceID, line string, err error) {
	instanceID, err = c.input.check(constraint{"InstanceId", true, 10, 32, instanceIDPattern().MatchString}, invalidArgs)
	if err != nil {
		return "", "", err
	}
	limits := constraint{"SSHPublicKey", true, 80, 4096, nil}
	if s.options.Permissive {
		limits.min, limits.max = 1, 0
	}
	key, err := c.input.check(limits, invalidArgs)
	if err != nil {
		return "", "", err
	}
	line, ok := s.keyLine(key)
	if !ok {
		return "", "", invalidArgs("SSH Public key is invalid")
	}
	return instanceID, line, nil
}

// sendSSHPublicKey answers a zone that is not the instance's as AWS answers an
// instance that does not exist.
func (s *Server) sendSSHPublicKey(c *call) (any, error) {
	id, line, err := s.pushInput(c)
	if err != nil {
		return nil, err
	}
	user, err := c.input.check(constraint{"InstanceOSUser", true, 1, 32, osUserPattern().MatchString}, invalidArgs)
	if err != nil {
		return nil, err
	}
	zone, err := c.input.check(constraint{"AvailabilityZone", false, 6, 32, zoneMemberPattern().MatchString}, invalidArgs)
	if err != nil {
		return nil, err
	}
	m, err := s.connectable(c, id)
	if err != nil {
		return nil, err
	}
	if zone != "" && zone != m.Zone {
		return nil, errInstanceNotFound()
	}
	if _, err := s.push(m, user, line, c.caller.ARN, c.requestID, c.now); err != nil {
		return nil, err
	}
	return pushOutput{c.requestID, true}, nil
}

// sendSerialKey publishes the key for the login name that the gateway uses.
func (s *Server) sendSerialKey(c *call) (any, error) {
	id, line, err := s.pushInput(c)
	if err != nil {
		return nil, err
	}
	port, err := c.input.number("SerialPort")
	if err != nil {
		return nil, err
	}
	if port != 0 {
		return nil, invalidArgs("SerialPort %d is not 0", port)
	}
	if !s.serialAccess(c.scope()) {
		return nil, exception("SerialConsoleAccessDisabledException")
	}
	m, err := s.connectable(c, id)
	if err != nil {
		return nil, err
	}
	if err := s.serialReady(m, c.now); err != nil {
		return nil, err
	}
	if err := s.pushConsole(m, port, line, c); err != nil {
		return nil, err
	}
	return pushOutput{c.requestID, true}, nil
}

func errInstanceNotFound() *apiError {
	return clientError("EC2InstanceNotFoundException", "Instance not found")
}

// connectable returns a running instance of the call's region.
func (s *Server) connectable(c *call, instanceID string) (*machine, error) {
	m := s.machine(instanceID)
	if m == nil || m.Region != c.region {
		return nil, errInstanceNotFound()
	}
	if m.Account != "" && m.Account != c.caller.Account {
		return nil, exception("AuthException")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.State != Running {
		return nil, clientError("EC2InstanceStateInvalidException", "The instance is %s; it must be running", m.State)
	}
	return m, nil
}

// keyLine returns the line to publish. An OpenSSH line is published as pushed,
// comment included, without a final newline; RFC 4716 form, which EC2 Instance
// Connect takes for RSA keys, becomes a line without a comment.
func (s *Server) keyLine(text string) (line string, ok bool) {
	key, err := fingerprint.ParseKey([]byte(text))
	if err == nil && key.Form == fingerprint.RFC4716 {
		return key.Line(), key.Type() == ssh.KeyAlgoRSA && s.connectKey(key)
	}
	line = strings.TrimRight(text, "\r\n")
	if line == "" || line[0] == '#' || strings.ContainsAny(line, "\r\n") {
		return "", false
	}
	if s.options.Permissive {
		return line, true
	}
	return line, err == nil && key.Form == fingerprint.OpenSSH && line[0] != ' ' && s.connectKey(key)
}

// connectKey reports whether EC2 Instance Connect takes a key: RSA of 2048 or
// 4096 bits, or ED25519.
func (s *Server) connectKey(key fingerprint.Key) bool {
	switch key.Type() {
	case ssh.KeyAlgoED25519:
		return true
	case ssh.KeyAlgoRSA:
		return key.RSABits() == 2048 || key.RSABits() == 4096 || s.options.Permissive
	}
	return s.options.Permissive
}

// trailSSHKey is the shape that CloudTrail is documented to have for the
// service.
func trailSSHKey(c *call) any {
	shape := make(map[string]any)
	for member, name := range map[string]string{"InstanceId": "instanceId", "InstanceOSUser": "osUser", "AvailabilityZone": "availabilityZone", "SerialPort": "serialPort"} {
		if value, ok := c.input[member]; ok {
			shape[name] = value
		}
	}
	if key, ok := c.input["SSHPublicKey"]; ok {
		shape["SSHKey"] = map[string]any{"publicKey": key}
	}
	return shape
}
