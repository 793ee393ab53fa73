// Package control is the endpoint by which tests steer the emulator: /_emu/.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/console"
	"github.com/eic-agent/eic-agent/internal/emulator/fault"
	"github.com/eic-agent/eic-agent/internal/emulator/metadata"
	"github.com/eic-agent/eic-agent/internal/emulator/requestlog"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// Root is what all its paths begin with.
const Root = "/_emu/"

const maxBody = 1 << 20

const help = `The control endpoint of eic-emulator. Bodies are JSON.

GET    /_emu/faults                       faults on order, and those there are
POST   /_emu/faults                       {"faults": ["staple-revoked", "status=503,share=0.5"]}
DELETE /_emu/faults[?name=NAME]           take back those of a name, or all
POST   /_emu/clock                        {"advance": "61s"}
GET    /_emu/ready                        200 once everything serves, 503 before
POST   /_emu/reset                        {"snapshot": "NAME"}: as it was then; without a name, as at the start
POST   /_emu/snapshots                    {"name": "NAME"}: remember the state for a reset
GET    /_emu/requests[?FILTER=VALUE...]   the latest requests; filters: service, operation, instance, caller,
                                          accessKey, region, method, path (its beginning), status, error, limit
DELETE /_emu/requests                     forget them
GET    /_emu/instances                    what is emulated
POST   /_emu/instances/ID                 {"state": "stopped", "tokens": "optional", "metadata": "off", "bios": "old", "serialSession": "start"}
PUT    /_emu/instances/ID/metadata/PATH   serve the body at meta-data/PATH
DELETE /_emu/instances/ID/metadata/PATH   let there be nothing at and below meta-data/PATH
PUT    /_emu/instances/ID/latest/PATH     serve the body at /latest/PATH, such as user-data or dynamic/...
DELETE /_emu/instances/ID/latest/PATH     let there be nothing at and below /latest/PATH
POST   /_emu/instances/ID/restore/PATH    take back what was set at and below /latest/PATH; without PATH, everything
DELETE /_emu/instances/ID/keys/USER       withdraw what was pushed for a user
POST   /_emu/rotate                       {"atOnce": false}: a new key for every signer
GET    /_emu/gateway                      the latest events of the serial console gateway
GET    /_emu/known_hosts                  its host key, a line for ssh
GET    /_emu/roots.pem                    what an agent has to trust
GET    /_emu/identity.pem                 what signs instance identity documents
`

// An Emulator is what is steered.
type Emulator interface {
	InjectFaults(texts []string) error
	ClearFaults(name string) int
	Faults() []string
	Advance(d time.Duration)
	Now() time.Time
	Ready() bool
	Reset(snapshot string) error
	Snapshot(name string) error

	Instances() []world.Instance
	IMDSURL(instanceID string) string
	IMDSURL6(instanceID string) string
	SerialPort(instanceID string) string
	SetState(instanceID string, state world.State) error
	SetTokens(instanceID string, tokens world.Tokens) error
	SetMetadataOff(instanceID string, off bool) error
	SetOldBIOS(instanceID string, old bool) error
	StartSerialSession(instanceID string) error
	EndSerialSession(instanceID string) error
	SetServed(instanceID, path string, body []byte) error
	RestoreServed(instanceID, path string) error
	Withdraw(instanceID, user string) error

	RotateSigners(atOnce bool) error
	RootsPEM() []byte
	IdentityPEM() ([]byte, error)
	GatewayAddr() string
	GatewayFingerprint() string
	GatewayEvents() []console.Event
	KnownHosts() []byte
}

// An endpoint answers for an emulator. Each of its functions returns what is
// answered, nil for nothing.
type endpoint struct {
	Emulator
	log   *requestlog.Log
	kinds []fault.Kind
}

// New returns the control endpoint of an emulator, with its request log and the
// faults that there are. Pages of a browser are kept off: they could reach it where
// it is bound to loopback.
func New(e Emulator, log *requestlog.Log, kinds []fault.Kind) http.Handler {
	mux := (&endpoint{e, log, kinds}).mux()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			http.Error(w, "not for browsers", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

func (s *endpoint) mux() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			write(w, answer, err)
		})
	}
	handle("GET /_emu/{$}", func(*http.Request) (any, error) { return []byte(help), nil })
	handle("GET /_emu/faults", func(*http.Request) (any, error) {
		return map[string]any{"faults": s.Faults(), "known": s.kinds}, nil
	})
	handle("POST /_emu/faults", s.postFaults)
	handle("DELETE /_emu/faults", func(r *http.Request) (any, error) {
		return map[string]int{"removed": s.ClearFaults(r.URL.Query().Get("name"))}, nil
	})
	handle("POST /_emu/clock", s.postClock)
	mux.HandleFunc("GET /_emu/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !s.Ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintln(w, map[bool]string{true: "ready", false: "not ready"}[s.Ready()]) // the client may be gone
	})
	handle("POST /_emu/reset", s.postReset)
	handle("POST /_emu/snapshots", s.postSnapshot)
	handle("GET /_emu/requests", s.requests)
	handle("DELETE /_emu/requests", func(*http.Request) (any, error) {
		s.log.Reset()
		return nil, nil
	})
	handle("GET /_emu/instances", func(*http.Request) (any, error) { return s.instances(), nil })
	handle("POST /_emu/instances/{id}", s.postInstance)
	handle("PUT /_emu/instances/{id}/metadata/{path...}", func(r *http.Request) (any, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		return nil, s.SetServed(r.PathValue("id"), metadata.Root+r.PathValue("path"), append([]byte{}, body...))
	})
	handle("DELETE /_emu/instances/{id}/metadata/{path...}", func(r *http.Request) (any, error) {
		return nil, s.SetServed(r.PathValue("id"), metadata.Root+r.PathValue("path"), nil)
	})
	handle("PUT /_emu/instances/{id}/latest/{path...}", func(r *http.Request) (any, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		return nil, s.SetServed(r.PathValue("id"), r.PathValue("path"), append([]byte{}, body...))
	})
	handle("DELETE /_emu/instances/{id}/latest/{path...}", func(r *http.Request) (any, error) {
		return nil, s.SetServed(r.PathValue("id"), r.PathValue("path"), nil)
	})
	handle("POST /_emu/instances/{id}/restore/{path...}", func(r *http.Request) (any, error) {
		return nil, s.RestoreServed(r.PathValue("id"), r.PathValue("path"))
	})
	handle("DELETE /_emu/instances/{id}/keys/{user}", func(r *http.Request) (any, error) {
		return nil, s.Withdraw(r.PathValue("id"), r.PathValue("user"))
	})
	handle("POST /_emu/rotate", s.postRotate)
	handle("GET /_emu/gateway", func(*http.Request) (any, error) {
		return map[string]any{"address": s.GatewayAddr(), "fingerprint": s.GatewayFingerprint(), "events": s.GatewayEvents()}, nil
	})
	handle("GET /_emu/known_hosts", func(*http.Request) (any, error) { return append([]byte{}, s.KnownHosts()...), nil })
	handle("GET /_emu/roots.pem", func(*http.Request) (any, error) { return s.RootsPEM(), nil })
	handle("GET /_emu/identity.pem", func(*http.Request) (any, error) { return s.IdentityPEM() })
	return mux
}

func write(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		answer = map[string]string{"error": err.Error()}
	}
	text, isText := answer.([]byte)
	switch {
	case isText:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Content-Type", "application/json")
		text, _ = json.MarshalIndent(answer, "", "  ") // of texts and numbers
		text = append(text, '\n')
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = w.Write(text) // the client may be gone
}

// decode reads a body into v, and nothing that v does not have.
func decode(r *http.Request, v any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("the body: %w", err)
	}
	return nil
}

// postFaults orders all of the faults or none.
func (s *endpoint) postFaults(r *http.Request) (any, error) {
	var body struct {
		Faults []string `json:"faults"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return map[string]any{"faults": body.Faults}, s.InjectFaults(body.Faults)
}

func (s *endpoint) requests(r *http.Request) (any, error) {
	all, err := s.log.Select(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return map[string]any{"schema": 1, "count": s.log.Count(), "requests": append([]requestlog.Exchange{}, all...)}, nil
}

func (s *endpoint) postReset(r *http.Request) (any, error) {
	var body struct {
		Snapshot string `json:"snapshot"`
	}
	if err := decodeOptional(r, &body); err != nil {
		return nil, err
	}
	return nil, s.Reset(body.Snapshot)
}

func (s *endpoint) postSnapshot(r *http.Request) (any, error) {
	var body struct {
		Name string `json:"name"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return nil, s.Snapshot(body.Name)
}

// decodeOptional is decode for a body that may be missing.
func decodeOptional(r *http.Request, v any) error {
	if err := decode(r, v); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// lastYear is when what counts nanoseconds in 64 bits, such as a session token, is not
// near its end yet.
const lastYear = 2200

func (s *endpoint) postClock(r *http.Request) (any, error) {
	var body struct {
		Advance string `json:"advance"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(body.Advance)
	if err != nil {
		return nil, err
	}
	if year := s.Now().Add(d).UTC().Year(); year < 1970 || year >= lastYear {
		return nil, fmt.Errorf("the clock can be set to 1970 until %d, not %d", lastYear, year)
	}
	s.Advance(d)
	return map[string]any{"now": s.Now().UTC()}, nil
}

func (s *endpoint) instances() any {
	type shape struct {
		world.Instance
		Metadata  string `json:"metadata"`
		Metadata6 string `json:"metadata6,omitempty"`
		Port      string `json:"serialPort,omitempty"`
	}
	var all []shape
	for _, i := range s.Instances() {
		all = append(all, shape{i, s.IMDSURL(i.ID), s.IMDSURL6(i.ID), s.SerialPort(i.ID)})
	}
	return map[string]any{"instances": all}
}

// postInstance changes all that is given or, where a value is wrong, nothing.
func (s *endpoint) postInstance(r *http.Request) (any, error) {
	var body struct {
		State    world.State  `json:"state"`
		Tokens   world.Tokens `json:"tokens"`
		Metadata string       `json:"metadata"`
		BIOS     string       `json:"bios"`
		Session  string       `json:"serialSession"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if !slices.ContainsFunc(s.Instances(), func(i world.Instance) bool { return i.ID == id }) {
		return nil, fmt.Errorf("no such instance: %q", id)
	}
	if body.State != "" && !body.State.Valid() {
		return nil, fmt.Errorf("%q is not a state of an instance", api.Cut(string(body.State)))
	}
	for _, one := range []struct{ name, given, no, yes string }{
		{"tokens", string(body.Tokens), string(world.TokensRequired), string(world.TokensOptional)},
		{"metadata", body.Metadata, "on", "off"}, {"bios", body.BIOS, "new", "old"}, {"serialSession", body.Session, "start", "end"},
	} {
		if one.given != "" && one.given != one.no && one.given != one.yes {
			return nil, fmt.Errorf("%s must be %s or %s, not %q", one.name, one.no, one.yes, api.Cut(one.given))
		}
	}
	for _, one := range []struct {
		given string
		set   func() error
	}{
		// The first can fail.
		{body.Session, func() error {
			if body.Session == "end" {
				return s.EndSerialSession(id)
			}
			return s.StartSerialSession(id)
		}},
		{string(body.State), func() error { return s.SetState(id, body.State) }},
		{string(body.Tokens), func() error { return s.SetTokens(id, body.Tokens) }},
		{body.Metadata, func() error { return s.SetMetadataOff(id, body.Metadata == "off") }},
		{body.BIOS, func() error { return s.SetOldBIOS(id, body.BIOS == "old") }},
	} {
		if one.given == "" {
			continue
		}
		if err := one.set(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (s *endpoint) postRotate(r *http.Request) (any, error) {
	var body struct {
		AtOnce bool `json:"atOnce"`
	}
	if err := decodeOptional(r, &body); err != nil {
		return nil, err
	}
	return nil, s.RotateSigners(body.AtOnce)
}
