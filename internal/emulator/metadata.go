package emulator

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

const (
	metadataRoot = "/latest/meta-data/"
	sshKeys      = "managed-ssh-keys/"
)

// SetMetadata makes the metadata service of an instance serve body at path, a
// path below /latest/meta-data/ without slashes at its ends, whatever it would
// serve there otherwise. A nil body makes the path one that does not exist.
func (s *Server) SetMetadata(instanceID, path string, body []byte) error {
	m, err := s.lookup(instanceID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.overridden == nil {
		m.overridden = make(map[string][]byte)
	}
	m.overridden[path] = bytes.Clone(body)
	return nil
}

// metadata returns the body of a leaf, or the listing of what is below path.
// Either may be asked for with or without a final slash.
func (s *Server) metadata(m *machine, path string, now time.Time) (body []byte, found bool, err error) {
	leaves, err := s.leaves(m, now)
	if err != nil {
		return nil, false, err
	}
	path = strings.TrimSuffix(path, "/")
	if body, found := leaves[path]; found {
		return body, true, nil
	}
	listing := list(slices.Sorted(maps.Keys(leaves)), path+"/")
	return listing, listing != nil, nil
}

// list names, one a line, what the sorted paths have below prefix. Folders end
// in a slash. It returns nil when there is nothing.
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

// leaves returns every leaf that the metadata service has now, by its path.
func (s *Server) leaves(m *machine, now time.Time) (map[string][]byte, error) {
	leaves := map[string][]byte{
		metadataRoot + "instance-id":                 []byte(m.ID),
		metadataRoot + "instance-type":               []byte(m.Type),
		metadataRoot + "placement/availability-zone": []byte(m.Zone),
		metadataRoot + "placement/region":            []byte(m.Region),
		metadataRoot + "services/domain":             []byte(m.Domain),
		metadataRoot + "services/partition":          []byte(m.Partition),
		metadataRoot + sshKeys + "signer-cert":       pki.EncodePEM(m.signer.chain...),
	}
	staples, err := m.signer.staples(now)
	if err != nil {
		return nil, err
	}
	for name, staple := range staples {
		leaves[metadataRoot+sshKeys+"signer-ocsp/"+name] = staple
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.dropExpired(now)
	for _, r := range m.records {
		path := metadataRoot + sshKeys + "active-keys/" + r.user
		leaves[path] = append(leaves[path], r.body...)
	}
	for path, body := range m.overridden {
		if body == nil {
			delete(leaves, metadataRoot+path)
		} else {
			leaves[metadataRoot+path] = body
		}
	}
	return leaves, nil
}
