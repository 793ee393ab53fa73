package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
)

const (
	controlRoot    = "/_emu/"
	maxControlBody = 1 << 20
)

const controlHelp = `The control endpoint of eic-emulator. Bodies are JSON.

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

// serveControl answers the control endpoint. Pages of a browser are kept off:
// they could reach it where it is bound to loopback.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		http.Error(w, "not for browsers", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
	s.control.ServeHTTP(w, r)
}

// newControl returns the control endpoint. Each of its functions returns what
// is answered, nil for nothing.
func (s *Server) newControl() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			writeControl(w, answer, err)
		})
	}
	handle("GET /_emu/{$}", func(*http.Request) (any, error) { return []byte(controlHelp), nil })
	handle("GET /_emu/faults", func(*http.Request) (any, error) {
		return map[string]any{"faults": s.Faults(), "known": FaultKinds()}, nil
	})
	handle("POST /_emu/faults", s.controlFaults)
	handle("DELETE /_emu/faults", func(r *http.Request) (any, error) {
		return map[string]int{"removed": s.ClearFaults(r.URL.Query().Get("name"))}, nil
	})
	handle("POST /_emu/clock", s.controlClock)
	mux.HandleFunc("GET /_emu/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !s.Ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintln(w, map[bool]string{true: "ready", false: "not ready"}[s.Ready()]) // the client may be gone
	})
	handle("POST /_emu/reset", s.controlReset)
	handle("POST /_emu/snapshots", s.controlSnapshot)
	handle("GET /_emu/requests", func(r *http.Request) (any, error) { return s.controlRequests(r.URL.Query()) })
	handle("DELETE /_emu/requests", func(*http.Request) (any, error) {
		s.ResetRequests()
		return nil, nil
	})
	handle("GET /_emu/instances", func(*http.Request) (any, error) { return s.controlInstances(), nil })
	handle("POST /_emu/instances/{id}", s.controlInstance)
	handle("PUT /_emu/instances/{id}/metadata/{path...}", func(r *http.Request) (any, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		return nil, s.SetMetadata(r.PathValue("id"), r.PathValue("path"), append([]byte{}, body...))
	})
	handle("DELETE /_emu/instances/{id}/metadata/{path...}", func(r *http.Request) (any, error) {
		return nil, s.SetMetadata(r.PathValue("id"), r.PathValue("path"), nil)
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
	handle("POST /_emu/rotate", s.controlRotate)
	handle("GET /_emu/gateway", func(*http.Request) (any, error) {
		return map[string]any{"address": s.GatewayAddr(), "fingerprint": s.GatewayFingerprint(), "events": s.GatewayEvents()}, nil
	})
	handle("GET /_emu/known_hosts", func(*http.Request) (any, error) { return append([]byte{}, s.KnownHosts()...), nil })
	handle("GET /_emu/roots.pem", func(*http.Request) (any, error) { return s.RootsPEM(), nil })
	handle("GET /_emu/identity.pem", func(*http.Request) (any, error) { return s.IdentityPEM() })
	return mux
}

func writeControl(w http.ResponseWriter, answer any, err error) {
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

// controlFaults orders all of the faults or none.
func (s *Server) controlFaults(r *http.Request) (any, error) {
	var body struct {
		Faults []string `json:"faults"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return map[string]any{"faults": body.Faults}, s.InjectFaults(body.Faults)
}

func (s *Server) controlReset(r *http.Request) (any, error) {
	var body struct {
		Snapshot string `json:"snapshot"`
	}
	if err := decodeOptional(r, &body); err != nil {
		return nil, err
	}
	return nil, s.Reset(body.Snapshot)
}

func (s *Server) controlSnapshot(r *http.Request) (any, error) {
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

func (s *Server) controlClock(r *http.Request) (any, error) {
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
	s.Advance(d)
	return map[string]any{"now": s.now().UTC()}, nil
}

func (s *Server) controlInstances() any {
	type shape struct {
		Instance
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

// controlInstance changes what is given; a wrong value ends it there.
func (s *Server) controlInstance(r *http.Request) (any, error) {
	var body struct {
		State    State  `json:"state"`
		Tokens   Tokens `json:"tokens"`
		Metadata string `json:"metadata"`
		BIOS     string `json:"bios"`
		Session  string `json:"serialSession"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if _, err := s.lookup(id); err != nil {
		return nil, err
	}
	for _, one := range []struct {
		given string
		set   func() error
	}{
		{string(body.State), func() error { return s.SetState(id, body.State) }},
		{string(body.Tokens), func() error { return s.SetTokens(id, body.Tokens) }},
		{body.Metadata, oneOf("metadata", body.Metadata, "on", "off", func(off bool) error { return s.SetMetadataOff(id, off) })},
		{body.BIOS, oneOf("bios", body.BIOS, "new", "old", func(old bool) error { return s.SetOldBIOS(id, old) })},
		{body.Session, oneOf("serialSession", body.Session, "start", "end", func(end bool) error {
			if end {
				return s.EndSerialSession(id)
			}
			return s.StartSerialSession(id)
		})},
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

// oneOf calls set with whether given is yes, and not no.
func oneOf(name, given, no, yes string, set func(bool) error) func() error {
	return func() error {
		if given != no && given != yes {
			return fmt.Errorf("%s is %s or %s, not %q", name, no, yes, api.Cut(given))
		}
		return set(given == yes)
	}
}

func (s *Server) controlRotate(r *http.Request) (any, error) {
	var body struct {
		AtOnce bool `json:"atOnce"`
	}
	if err := decodeOptional(r, &body); err != nil {
		return nil, err
	}
	return nil, s.RotateSigners(body.AtOnce)
}
