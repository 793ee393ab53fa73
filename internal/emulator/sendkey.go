package emulator

import (
	"crypto/rsa"
	"encoding/base64"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
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

// sendSSHPublicKey is SendSSHPublicKey of API version 2018-04-02. A zone that
// is not the instance's is EC2InstanceNotFoundException. AuthException,
// EC2InstanceUnavailableException and ThrottlingException are never its answer.
func (s *Server) sendSSHPublicKey(c call) (any, error) {
	id, err := c.input.check(constraint{"InstanceId", true, 10, 32, instanceIDPattern().MatchString})
	if err != nil {
		return nil, err
	}
	user, err := c.input.check(constraint{"InstanceOSUser", true, 1, 32, osUserPattern().MatchString})
	if err != nil {
		return nil, err
	}
	limits := constraint{"SSHPublicKey", true, 80, 4096, nil}
	if s.options.Permissive {
		limits.min, limits.max = 1, 0
	}
	key, err := c.input.check(limits)
	if err != nil {
		return nil, err
	}
	zone, err := c.input.check(constraint{"AvailabilityZone", false, 6, 32, zoneMemberPattern().MatchString})
	if err != nil {
		return nil, err
	}
	line, ok := s.keyLine(key)
	if !ok {
		return nil, invalidArgs("SSH Public key is invalid")
	}
	if err := s.checkConnectable(id, zone); err != nil {
		return nil, err
	}
	if _, err := s.push(id, user, line, c.caller, c.requestID); err != nil {
		return nil, err
	}
	return struct {
		RequestId string
		Success   bool
	}{c.requestID, true}, nil
}

func (s *Server) checkConnectable(instanceID, zone string) error {
	m := s.machine(instanceID)
	if m == nil || zone != "" && zone != m.Zone {
		return clientError("EC2InstanceNotFoundException", "Instance not found")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.State != Running {
		return clientError("EC2InstanceStateInvalidException", "The instance is %s; it must be running", m.State)
	}
	return nil
}

// keyLine returns the line to publish: the key as pushed, comment included,
// without a final newline. RFC 4716 form is not taken yet.
func (s *Server) keyLine(key string) (line string, ok bool) {
	line = strings.TrimRight(key, "\r\n")
	if line == "" || line[0] == '#' || strings.ContainsAny(line, "\r\n") {
		return "", false
	}
	return line, s.options.Permissive || acceptedKey(line)
}

// acceptedKey reports whether line is a bare public key, with or without a
// comment, of a kind that EC2 Instance Connect takes: RSA of 2048 or 4096
// bits, or ED25519.
func acceptedKey(line string) bool {
	keyType, rest, _ := strings.Cut(line, " ")
	encoded, comment, _ := strings.Cut(rest, " ")
	if strings.ContainsFunc(comment, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return false
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil || key.Type() != keyType {
		return false
	}
	switch keyType {
	case ssh.KeyAlgoED25519:
		return true
	case ssh.KeyAlgoRSA:
		public, ok := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
		return ok && (public.N.BitLen() == 2048 || public.N.BitLen() == 4096)
	}
	return false
}
