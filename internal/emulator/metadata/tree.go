package metadata

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/signing"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Root is the directory that most of what is served is in.
const Root = "meta-data/"

const (
	identityRoot = "dynamic/instance-identity/"
	sshKeys      = Root + "managed-ssh-keys/"
	activeKeys   = sshKeys + "active-keys/"
	signerCert   = sshKeys + "signer-cert"
	signerOCSP   = sshKeys + "signer-ocsp/"
	publicKeys   = Root + "public-keys"
)

// versions returns the names under which the metadata tree is served. Each has the
// same content.
func versions() []string {
	return []string{
		"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
		"2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
		"2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
		"2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest",
	}
}

// get returns the body of a leaf, or the listing of what is below path.
// Either may be asked for with or without a final slash.
func (s *Service) get(m *world.Machine, who session, path string) (body []byte, found bool, err error) {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return []byte(strings.Join(versions(), "\n")), true, nil
	}
	version, path, _ := strings.Cut(path, "/")
	if !slices.Contains(versions(), version) {
		return nil, false, nil
	}
	body, found, err = s.leaf(m, who, path)
	if found || err != nil {
		return body, found, err
	}
	return s.listing(m, who, path)
}

// leaf returns what is at path, below a version.
func (s *Service) leaf(m *world.Machine, who session, path string) (body []byte, found bool, err error) {
	s.o.World.Lock()
	body, overridden := m.Override(path)
	s.o.World.Unlock()
	if overridden {
		return body, body != nil, nil
	}
	target := fault.Target{Service: fault.IMDS, Instance: m.ID, Path: "/latest/" + path}
	if user, ok := strings.CutPrefix(path, activeKeys); ok {
		return s.keysOf(m, who.generation, user, who.at, target)
	}
	staple, isStaple := strings.CutPrefix(path, signerOCSP)
	if path == signerCert || isStaple {
		view, err := s.view(m, who, path)
		if err != nil {
			return nil, false, err
		}
		if isStaple {
			body, found = view.Staples[staple]
			return body, found, nil
		}
		return view.Chain, true, nil
	}
	if hits := s.o.Faults.Strike(fault.LayerFact, target, func(f fault.Spec) bool { return Root+factPaths[f.Name] == path }); len(hits) > 0 {
		return []byte(hits[0].Value), true, nil
	}
	foreign := func(f fault.Spec) bool { return f.Name == signing.ForeignDomainFault && path == Root+domainPath }
	if hits := s.o.Faults.Strike(fault.LayerSigner, target, foreign); len(hits) > 0 {
		return []byte(signing.ForeignDomain), true, nil
	}
	if document, ok := strings.CutPrefix(path, identityRoot); ok {
		return s.identityLeaf(m, document)
	}
	body, found = s.facts(m, who.at)[path]
	return body, found, nil
}

// view returns the chain and the staples as a request of path sees them.
func (s *Service) view(m *world.Machine, who session, path string) (*signing.View, error) {
	target := fault.Target{Service: fault.IMDS, Instance: m.ID, Path: "/latest/" + path}
	return s.o.Signers.View(s.o.Signers.Of(m), who.generation, who.at, target, func(v *signing.View) string { return answerOf(v, path) })
}

// answerOf is what a view has at path, a leaf or a directory, but for what differs from
// one making to the next.
func answerOf(v *signing.View, path string) string {
	if path == signerCert {
		return string(v.Chain)
	}
	if name, ok := strings.CutPrefix(path, signerOCSP); ok {
		return v.Marks[name]
	}
	var names []string
	for name := range v.Staples {
		names = append(names, signerOCSP+name)
	}
	slices.Sort(names)
	return string(list(names, path+"/"))
}

// listing names, one a line, what there is below path. Directories end in a slash,
// but for the two on top.
func (s *Service) listing(m *world.Machine, who session, path string) (body []byte, found bool, err error) {
	if path == publicKeys && s.launchKey(m) != "" {
		return []byte("0=" + m.KeyName), true, nil
	}
	leaves, err := s.paths(m, who, path)
	if err != nil {
		return nil, false, err
	}
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	body = list(leaves, prefix)
	if path == "" {
		body = bytes.ReplaceAll(body, []byte("/"), nil)
	}
	return body, body != nil, nil
}

// paths returns the path of every leaf that there is now below a directory, in
// order.
func (s *Service) paths(m *world.Machine, who session, directory string) ([]string, error) {
	all := make(map[string]bool)
	for path := range s.facts(m, who.at) {
		all[path] = true
	}
	for _, name := range identityLeaves() {
		all[identityRoot+name] = true
	}
	all[signerCert] = true
	view, err := s.view(m, who, directory)
	if err != nil {
		return nil, err
	}
	for name := range view.Staples {
		all[signerOCSP+name] = true
	}
	s.o.World.Lock()
	defer s.o.World.Unlock()
	for _, user := range m.Records.Users(who.at) {
		all[activeKeys+user] = true
	}
	for path := range m.Overrides {
		all[path] = true
	}
	for path := range m.Served {
		all[path] = true
	}
	maps.DeleteFunc(all, func(path string, _ bool) bool {
		body, overridden := m.Override(path)
		return overridden && body == nil
	})
	return slices.Sorted(maps.Keys(all)), nil
}

// list names what the sorted paths have below prefix. It returns nil when there
// is nothing.
func list(paths []string, prefix string) []byte {
	var names []string
	for _, path := range paths {
		below, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		if i := strings.IndexByte(below, '/'); i >= 0 {
			below = below[:i+1]
		}
		names = append(names, below)
	}
	if names == nil {
		return nil
	}
	return []byte(strings.Join(slices.Compact(names), "\n"))
}

func (s *Service) launchKey(m *world.Machine) string {
	s.o.World.Lock()
	defer s.o.World.Unlock()
	return m.LaunchKey
}
