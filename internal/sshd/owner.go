package sshd

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/keyscommand"
)

// An Owner is whose an AuthorizedKeysCommand is.
type Owner string

const (
	OwnerNone    Owner = "none"                   // there is no command
	OwnerAgent   Owner = "eic-agent"              // this one
	OwnerAWS     Owner = "ec2-instance-connect"   // AWS's package
	OwnerUserdb  Owner = "systemd-userdb"         // userdbctl ssh-authorized-keys
	OwnerSSSD    Owner = "sssd"                   // also FreeIPA's
	OwnerOSLogin Owner = "google-oslogin"         //
	OwnerOpkssh  Owner = "opkssh"                 //
	OwnerScript  Owner = "script-without-a-proof" // fetches keys and prints them unproved
	OwnerOther   Owner = "other"                  //
	maxScript          = 256 << 10
	agentProgram       = "eic-authkeys"
)

// Describe says who that is, for a sentence.
func (o Owner) Describe() string {
	switch o {
	case OwnerNone:
		return "no command"
	case OwnerAgent:
		return "eic-agent's command"
	case OwnerAWS:
		return "the command of AWS's package ec2-instance-connect"
	case OwnerUserdb:
		return "systemd's userdbctl"
	case OwnerSSSD:
		return "the command of SSSD"
	case OwnerOSLogin:
		return "the command of Google's OS Login"
	case OwnerOpkssh:
		return "opkssh"
	case OwnerScript:
		return "a script that fetches keys and prints them without a proof of where they come from"
	}
	return "another command"
}

// OwnerOf says whose a command is, by its path and, for a script, by what it does.
// Whether a script proves what it fetches is a guess: it is one that fetches, and
// names no tool that checks signatures.
func (s *Server) OwnerOf(command string) Owner {
	if unlessNone(command) == "" {
		return OwnerNone
	}
	words, err := keyscommand.Split(command)
	if err != nil {
		return OwnerOther
	}
	base := filepath.Base(words[0])
	switch {
	case base == agentProgram:
		return OwnerAgent
	case strings.HasPrefix(base, "eic_") || strings.Contains(words[0], "/ec2-instance-connect/"):
		return OwnerAWS
	case base == "userdbctl":
		return OwnerUserdb
	case base == "sss_ssh_authorizedkeys":
		return OwnerSSSD
	case base == "google_authorized_keys":
		return OwnerOSLogin
	case base == "opkssh":
		return OwnerOpkssh
	case s.fetchesUnproved(words):
		return OwnerScript
	}
	return OwnerOther
}

func (s *Server) fetchesUnproved(words []string) bool {
	text := strings.Join(words, " ")
	if script, err := readFile(s.Path(words[0]), maxScript); err == nil && strings.HasPrefix(string(script), "#!") {
		text += "\n" + string(script)
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) })
	}
	return has("curl", "wget", "http://", "https://", "169.254.169.254") && !has("openssl", "gpg", "ssh-keygen -Y", "eic-authkeys")
}

// UnknownTokens returns the tokens of a command that this version of sshd does not
// know, as "%C". Where the version is not known, those that none knows.
func (s *Server) UnknownTokens(command string) ([]string, error) {
	letters, err := keyscommand.Tokens(command)
	if err != nil {
		return nil, err
	}
	v := s.Version
	if v.IsZero() {
		v = Version{Major: 1 << 20}
	}
	var unknown []string
	for _, c := range letters {
		if !v.KnowsToken(c) {
			unknown = append(unknown, "%"+string(c))
		}
	}
	return unknown, nil
}
