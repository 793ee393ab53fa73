package emulator

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

const (
	metadataRoot = "meta-data/"
	identityRoot = "dynamic/instance-identity/"
	sshKeys      = metadataRoot + "managed-ssh-keys/"
	activeKeys   = sshKeys + "active-keys/"
	signerCert   = sshKeys + "signer-cert"
	signerOCSP   = sshKeys + "signer-ocsp/"
	publicKeys   = metadataRoot + "public-keys"
)

// versions returns the names of the metadata tree: what is below one of them is
// below each.
func versions() []string {
	return []string{
		"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
		"2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
		"2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
		"2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest",
	}
}

// SetMetadata makes the metadata service of an instance serve body at path, a
// path below /latest/meta-data/ without slashes at its ends, whatever it would
// serve there otherwise. A nil body makes the path one that does not exist,
// with all that is below it but for what is set there.
func (s *Server) SetMetadata(instanceID, path string, body []byte) error {
	return s.SetServed(instanceID, metadataRoot+path, body)
}

// SetServed is SetMetadata for a path below /latest/, such as user-data or
// dynamic/instance-identity/document.
func (s *Server) SetServed(instanceID, path string, body []byte) error {
	path = strings.Trim(path, "/")
	if err := world.CheckServedPath(path); err != nil {
		return err
	}
	return s.override(instanceID, path, func(all map[string][]byte, path string) { all[path] = bytes.Clone(body) })
}

// RestoreServed takes back what SetServed and SetMetadata have set at a path
// below /latest/ and below it; "" means everything. What the instance was given at
// the start (Instance.Served) is served again.
func (s *Server) RestoreServed(instanceID, path string) error {
	return s.override(instanceID, strings.Trim(path, "/"), func(all map[string][]byte, path string) {
		maps.DeleteFunc(all, func(set string, _ []byte) bool {
			return path == "" || set == path || strings.HasPrefix(set, path+"/")
		})
	})
}

// override changes what was set about paths below a version.
func (s *Server) override(instanceID, path string, set func(all map[string][]byte, path string)) error {
	return s.update(instanceID, func(tx *world.Tx, m *machine) error {
		all := maps.Clone(m.Overrides)
		if all == nil {
			all = make(map[string][]byte)
		}
		set(all, path)
		world.Set(tx, &m.Overrides, all)
		tx.SaveMachine(m.Machine)
		return nil
	})
}

// metadata returns the body of a leaf, or the listing of what is below path.
// Either may be asked for with or without a final slash.
func (s *Server) metadata(m *machine, who session, path string) (body []byte, found bool, err error) {
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

// override returns what was set at path, nil where it or a folder of it was
// removed. It needs the lock of the world.
func (m *machine) override(path string) (body []byte, overridden bool) {
	if body, ok := m.Overrides[path]; ok {
		return body, true
	}
	for i, c := range path {
		if removed, ok := m.Overrides[path[:i]]; c == '/' && ok && removed == nil {
			return nil, true
		}
	}
	if text, ok := m.Served[path]; ok {
		return []byte(text), true
	}
	return nil, false
}

// leaf returns what is at path, below a version.
func (s *Server) leaf(m *machine, who session, path string) (body []byte, found bool, err error) {
	s.world.Lock()
	body, overridden := m.override(path)
	s.world.Unlock()
	if overridden {
		return body, body != nil, nil
	}
	target := fault.Target{Service: serviceIMDS, Instance: m.ID, Path: "/latest/" + path}
	if user, ok := strings.CutPrefix(path, activeKeys); ok {
		return s.keysOf(m, who.generation, user, who.at, target)
	}
	staple, isStaple := strings.CutPrefix(path, signerOCSP)
	if path == signerCert || isStaple {
		view, err := s.signerView(m, who, path)
		if err != nil {
			return nil, false, err
		}
		if isStaple {
			body, found = view.staples[staple]
			return body, found, nil
		}
		return view.chain, true, nil
	}
	about := func(h hit) bool { return metadataRoot+h.kind.fact == path }
	if hits := s.strikes(layerFact, target, about); len(hits) > 0 {
		return []byte(hits[0].spec.Value), true, nil
	}
	if hits := s.strikes(layerSigner, target, about); len(hits) > 0 {
		return []byte(foreignDomain), true, nil
	}
	if document, ok := strings.CutPrefix(path, identityRoot); ok {
		return s.identityLeaf(m, document)
	}
	body, found = s.facts(m, who.at)[path]
	return body, found, nil
}

// listing names, one a line, what there is below path. Folders end in a slash,
// but for the two on top.
func (s *Server) listing(m *machine, who session, path string) (body []byte, found bool, err error) {
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

// paths returns the path of every leaf that there is now below a folder, in
// order.
func (s *Server) paths(m *machine, who session, folder string) ([]string, error) {
	all := make(map[string]bool)
	for path := range s.facts(m, who.at) {
		all[path] = true
	}
	for _, name := range identityLeaves() {
		all[identityRoot+name] = true
	}
	all[signerCert] = true
	view, err := s.signerView(m, who, folder)
	if err != nil {
		return nil, err
	}
	for name := range view.staples {
		all[signerOCSP+name] = true
	}
	s.world.Lock()
	defer s.world.Unlock()
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
		body, overridden := m.override(path)
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

func (s *Server) launchKey(m *machine) string {
	s.world.Lock()
	defer s.world.Unlock()
	return m.LaunchKey
}
