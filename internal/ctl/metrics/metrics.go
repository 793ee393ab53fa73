// Package metrics answers `eicctl metrics`: what the agent did on this host, in numbers.
//
// The counters are of records in the journal. State keeps them together with the place in
// the journal up to which they count, so that each run reads what is new, and a record
// counts once however often they are collected.
package metrics

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/doctor"
	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/version"
)

// Options say what is collected.
type Options struct {
	Trust      journal.Trust
	StatePath  string // "": count the whole journal
	ConfigPath string // of the agent
	NoDoctor   bool

	directory string // of a journal, in tests
}

// A Metric is one name with its samples.
type Metric struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"` // counter or gauge
	Help    string   `json:"help"`
	Samples []Sample `json:"samples"`
}

// A Sample is one value of a metric.
type Sample struct {
	Labels []Label `json:"labels,omitempty"`
	Value  float64 `json:"value"`
}

// A Label is one of a sample.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const (
	counter = "counter"
	gauge   = "gauge"
	// other stands for a reason that is not on the list.
	other = "other"
)

// A counted event is a counter. With reasons it has a sample for each.
type counted struct {
	kind    audit.Kind
	name    string
	help    string
	reasons func(reason.Word) bool
}

// label is the label of an event's reason.
func (e counted) label(word reason.Word) string {
	if e.reasons == nil || e.reasons(word) && slices.Contains(reason.All(), word) {
		return string(word)
	}
	return other
}

func isPolicy(w reason.Word) bool { return w == reason.UserDenied || w == reason.CallerNotMapped }

func isAny(reason.Word) bool { return true }

// countedEvents are the counters of events, in the order in which they are shown.
func countedEvents() []counted {
	return []counted{
		{audit.KeyProvided, "eic_keys_provided_total", "Keys given to sshd, often twice for one login.", nil},
		{audit.RecordRefused, "eic_records_refused_total", "Pushed keys that were refused.", reason.Word.RefusesRecord},
		{audit.WouldRefuse, "eic_records_would_refuse_total", "Keys granted only because [users] enforce is false.", isPolicy},
		{audit.RunFailed, "eic_runs_failed_total", "Runs of eic-authkeys that could not determine the keys.", func(w reason.Word) bool { return !w.RefusesRecord() }},
		{audit.ChainFailed, "eic_chain_failed_total", "Commands of [chain] whose keys were not used.", nil},
		{audit.GateOpened, "eic_gates_opened_total", "Serial consoles opened with a pushed key.", nil},
		{audit.GateBrokenGlass, "eic_gates_opened_without_key_total", "Serial consoles opened without a key, because the metadata service was unreachable.", nil},
		{audit.GateRefused, "eic_gates_refused_total", "Attempts to open a serial console that were refused.", isAny},
		{audit.GateFailed, "eic_gates_failed_total", "Attempts to open a serial console that failed.", isAny},
	}
}

// A Snapshot is what was collected.
type Snapshot struct {
	Time    time.Time `json:"time"`
	Metrics []Metric  `json:"metrics"`

	state State
}

// Collect reads the journal and examines the host. It changes nothing: Save keeps the
// state.
func Collect(ctx context.Context, o Options) (*Snapshot, error) {
	state, err := load(o.StatePath)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := state.count(ctx, o); err != nil {
		return nil, err
	}
	if err := state.sessions(ctx, o.Trust, now); err != nil {
		return nil, err
	}
	s := &Snapshot{Time: now.UTC(), state: *state}
	s.info(o.ConfigPath)
	for _, e := range countedEvents() {
		s.add(e.name, counter, e.help, state.samples(e)...)
	}
	s.add("eic_records_lost_total", counter, "Events that neither journald nor syslog took.", Sample{Value: float64(state.Lost)})
	s.add("eic_sessions_open", gauge, "Sessions opened with a pushed key whose process is still there.", Sample{Value: float64(len(state.Open))})
	if !o.NoDoctor {
		s.doctor(ctx, o.ConfigPath)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	s.add("eic_metrics_collected_timestamp_seconds", gauge, "When these metrics were collected.", Sample{Value: float64(now.Unix())})
	return s, nil
}

func (s *Snapshot) add(name, typ, help string, samples ...Sample) {
	s.Metrics = append(s.Metrics, Metric{name, typ, help, samples})
}

// info tells versions and configuration. The digest is of the settings, not of the
// files: hosts with the same settings have the same.
func (s *Snapshot) info(path string) {
	digest, usable := "", 0.0
	if cfg, err := config.Load(path); err == nil {
		digest, usable = Digest(cfg), 1
	}
	s.add("eic_agent_info", gauge, "Version of the agent, and a digest of its settings.",
		Sample{Labels: []Label{{"config", digest}, {"version", version.String()}}, Value: 1})
	s.add("eic_config_usable", gauge, "Whether the agent's configuration can be used.", Sample{Value: usable})
}

// Digest returns a short digest of a configuration's settings, defaults included. It is
// the same for two configurations of one version if all settings are.
func Digest(cfg *config.Config) string {
	text, err := json.Marshal(cfg)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func (s *Snapshot) doctor(ctx context.Context, configPath string) {
	report := doctor.Run(ctx, doctor.Options{ConfigPath: configPath})
	problems := make(map[string]float64)
	for _, f := range report.Findings {
		if f.Status == doctor.Problem {
			problems[f.ID]++
		}
	}
	var samples []Sample
	for _, id := range slices.Sorted(maps.Keys(problems)) {
		samples = append(samples, Sample{[]Label{{"id", id}}, problems[id]})
	}
	s.add("eic_doctor_problems", gauge, "Problems that eicctl doctor finds, by ID.", samples...)
	s.add("eic_doctor_checks", gauge, "Checks of eicctl doctor, by how they ended.",
		Sample{[]Label{{"status", "ok"}}, float64(report.OK)},
		Sample{[]Label{{"status", "problem"}}, float64(report.Problems)},
		Sample{[]Label{{"status", "unknown"}}, float64(report.Unknown)})
}

// samples returns those of a counter: one for each reason, also where it is 0, so that
// the first event is an increase.
func (s *State) samples(e counted) []Sample {
	counts := s.Counts[e.name]
	if e.reasons == nil {
		total := uint64(0)
		for _, n := range counts {
			total += n
		}
		return []Sample{{Value: float64(total)}}
	}
	var samples []Sample
	for _, word := range append(slices.DeleteFunc(reason.All(), func(w reason.Word) bool { return !e.reasons(w) }), other) {
		samples = append(samples, Sample{[]Label{{"reason", string(word)}}, float64(counts[string(word)])})
	}
	return samples
}

// errState is a state that cannot be used.
func errState(path string, err error) error {
	return &journal.Error{
		Sentence: fmt.Sprintf("cannot use the state in %.200q: %v", path, err),
		Hint:     "remove the file: the counters then restart from the journal",
	}
}
