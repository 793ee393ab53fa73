package emulator

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

const (
	stateVersion = 1
	maxStateFile = 256 << 20
)

// A stateFile holds what a Server keeps across restarts. It is always whole:
// each version of it replaces the one before by rename.
type stateFile struct {
	path    string
	changes atomic.Uint64

	mu      sync.Mutex // held while one is written
	written uint64     // how many changes the file has
}

// persist returns when every change made before it was called is on the disk.
// Those who wait while a version is being written share the next one.
func (s *Server) persist() error {
	f := &s.state
	if f.path == "" {
		return nil
	}
	mine := f.changes.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.written >= mine {
		return nil
	}
	upTo := f.changes.Load()
	data, err := s.snapshot()
	if err != nil {
		return err
	}
	if err := writeFile(f.path, data, 0o600); err != nil {
		return err
	}
	f.written = upTo
	return nil
}

// The parts of the state file.
type (
	savedState struct {
		Version   int
		Hierarchy savedHierarchy
		Signers   []savedSigner
		Regions   []savedRegion
		Instances []savedInstance
		HostKey   []byte `json:",omitempty"` // of the gateway, PKCS #8
	}
	savedHierarchy struct {
		Root, Legacy, Intermediate savedAuthority
		CrossRoot, CrossLegacy     []byte
	}
	savedAuthority struct{ Cert, Key []byte } // DER, PKCS #8
	savedSigner    struct {
		Region, Domain string
		Generations    []savedGeneration
	}
	savedGeneration struct {
		Number int
		Since  time.Time
		Leaf   savedAuthority
	}
	savedRegion struct {
		Account, Region string
		State           *regionState
	}
	savedInstance struct {
		changes
		ID                       string
		SerialSince, SerialEnded time.Time
		SerialOfGateway          bool `json:",omitempty"`
		TokenKey                 []byte
		LaunchKey                string            `json:",omitempty"`
		Metadata                 map[string][]byte `json:",omitempty"` // SetMetadata's; null: removed
		Records                  []savedRecord     `json:",omitempty"`
	}
	savedRecord struct {
		User      string
		Statement keyrecord.Statement
		Raw       []byte // null for a statement
		Expires   time.Time
		Console   bool `json:",omitempty"`
	}
)

func saveAuthority(a *pki.Authority) (savedAuthority, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.Key)
	return savedAuthority{a.Cert.Raw, key}, err
}

func (a savedAuthority) load() (*pki.Authority, error) {
	cert, err := x509.ParseCertificate(a.Cert)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(a.Key)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key cannot sign")
	}
	return &pki.Authority{Cert: cert, Key: signer}, nil
}

func (s *Server) snapshot() ([]byte, error) {
	saved := savedState{Version: stateVersion}
	h := s.hierarchy
	saved.Hierarchy.CrossRoot, saved.Hierarchy.CrossLegacy = h.crossRoot.Raw, h.crossLegacy.Raw
	var all error
	save := func(to *savedAuthority, from *pki.Authority) {
		one, err := saveAuthority(from)
		*to, all = one, errors.Join(all, err)
	}
	save(&saved.Hierarchy.Root, h.root)
	save(&saved.Hierarchy.Legacy, h.legacy)
	save(&saved.Hierarchy.Intermediate, h.intermediate)
	hostKey, err := s.saveHostKey()
	saved.HostKey, all = hostKey, errors.Join(all, err)

	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[*signer]bool)
	for _, m := range s.instances {
		if !seen[m.signer] {
			seen[m.signer] = true
			saved.Signers = append(saved.Signers, m.signer.save(save))
		}
		saved.Instances = append(saved.Instances, m.save(s.now()))
	}
	for where, state := range s.regions {
		saved.Regions = append(saved.Regions, savedRegion{where.account, where.region, state})
	}
	slices.SortFunc(saved.Regions, func(a, b savedRegion) int {
		return strings.Compare(a.Account+" "+a.Region, b.Account+" "+b.Region)
	})
	if all != nil {
		return nil, all
	}
	return json.Marshal(saved)
}

func (s *signer) save(save func(*savedAuthority, *pki.Authority)) savedSigner {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := savedSigner{Region: s.region, Domain: s.domain}
	for _, g := range s.generations {
		one := savedGeneration{Number: g.number, Since: g.since}
		save(&one.Leaf, g.leaf)
		saved.Generations = append(saved.Generations, one)
	}
	return saved
}

// save needs Server.mu.
func (m *machine) save(now time.Time) savedInstance {
	saved := savedInstance{
		changes: m.changed, ID: m.ID, SerialSince: m.serialSince,
		SerialEnded: m.serialEnded, SerialOfGateway: m.serialOfGateway, TokenKey: m.tokenKey[:], LaunchKey: m.launchKey, Metadata: m.overridden,
	}
	for _, user := range m.records.users(now) {
		for _, r := range m.records.of(user, now) {
			saved.Records = append(saved.Records, savedRecord{r.user, r.statement, r.raw, r.expires, r.console})
		}
	}
	return saved
}

// restore reads the state file, or begins one. Instances in it that are not
// among the options are forgotten; new ones begin as the options say. Of the
// others, what was changed through the API or the control endpoint counts, and
// for all else the options.
func (s *Server) restore() error {
	s.state.tidy()
	saved, err := s.state.read()
	if err != nil {
		return fmt.Errorf("cannot use the state file %s: %w", s.state.path, err)
	}
	signers := make(map[string]*signer)
	if saved == nil {
		if s.hierarchy, err = newHierarchy(s.started, s.options.RSA); err != nil {
			return err
		}
	} else if err := s.load(saved, signers); err != nil {
		return fmt.Errorf("cannot use the state file %s: %w", s.state.path, err)
	}
	if err := s.issueSigners(signers); err != nil {
		return err
	}
	if err := s.newHostKey(); err != nil {
		return err
	}
	if err := s.persist(); err != nil {
		return fmt.Errorf("%w %s: %w", ErrStateFile, s.state.path, err)
	}
	return nil
}

// ErrStateFile is in the error of New when the state file cannot be written.
var ErrStateFile = errors.New("cannot write the state file")

// tidy removes what a crash in the middle of a write has left.
func (f *stateFile) tidy() {
	if f.path == "" {
		return
	}
	files, _ := os.ReadDir(filepath.Dir(f.path))
	for _, file := range files {
		digits, ok := strings.CutPrefix(file.Name(), temporary(f.path))
		if ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
			_ = os.Remove(filepath.Join(filepath.Dir(f.path), file.Name())) // it is in nobody's way
		}
	}
}

// read returns nil when there is no file.
func (f *stateFile) read() (*savedState, error) {
	if f.path == "" {
		return nil, nil
	}
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxStateFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxStateFile:
		return nil, fmt.Errorf("it has more than %d bytes", maxStateFile)
	}
	var saved savedState
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&saved); err != nil {
		return nil, err
	}
	if saved.Version != stateVersion {
		return nil, fmt.Errorf("it is of version %d, not %d", saved.Version, stateVersion)
	}
	return &saved, nil
}

func (s *Server) load(saved *savedState, signers map[string]*signer) error {
	var h hierarchy
	for to, from := range map[**pki.Authority]savedAuthority{
		&h.root: saved.Hierarchy.Root, &h.legacy: saved.Hierarchy.Legacy, &h.intermediate: saved.Hierarchy.Intermediate,
	} {
		var err error
		if *to, err = from.load(); err != nil {
			return err
		}
	}
	for to, from := range map[**x509.Certificate][]byte{&h.crossRoot: saved.Hierarchy.CrossRoot, &h.crossLegacy: saved.Hierarchy.CrossLegacy} {
		var err error
		if *to, err = x509.ParseCertificate(from); err != nil {
			return err
		}
	}
	s.hierarchy = &h
	if err := s.loadHostKey(saved.HostKey); err != nil {
		return err
	}
	for _, one := range saved.Signers {
		made := &signer{region: one.Region, domain: one.Domain}
		for _, g := range one.Generations {
			leaf, err := g.Leaf.load()
			if err != nil {
				return err
			}
			made.generations = append(made.generations, &generation{number: g.Number, since: g.Since, leaf: leaf})
		}
		if len(made.generations) == 0 {
			return errors.New("a signer has no key")
		}
		signers[one.Region+" "+one.Domain] = made
	}
	for _, r := range saved.Regions {
		if r.State == nil {
			return errors.New("a region has no state")
		}
		s.regions[scope{r.Account, r.Region}] = r.State
	}
	for _, one := range saved.Instances {
		if m := s.machine(one.ID); m != nil {
			m.load(one, s.now())
		}
	}
	for _, r := range saved.Regions {
		for _, pair := range r.State.KeyPairs {
			s.launchWith(scope{r.Account, r.Region}, pair)
		}
	}
	return nil
}

func (m *machine) load(saved savedInstance, now time.Time) {
	m.apply(saved.changes)
	copy(m.tokenKey[:], saved.TokenKey)
	m.serialSince, m.serialEnded, m.serialOfGateway = saved.SerialSince, saved.SerialEnded, saved.SerialOfGateway
	if m.serialOfGateway && m.serialEnded.IsZero() {
		m.serialEnded = now // it ended with the emulator that had it
	}
	m.overridden = saved.Metadata
	if parts := strings.SplitN(saved.LaunchKey, " ", 3); len(parts) == 3 && parts[2] == m.KeyName {
		m.launchKey = saved.LaunchKey
	}
	slices.SortStableFunc(saved.Records, func(a, b savedRecord) int { return a.Expires.Compare(b.Expires) })
	for _, r := range saved.Records {
		m.records.add(&record{user: r.User, statement: r.Statement, raw: r.Raw, expires: r.Expires, console: r.Console}, now)
	}
}
