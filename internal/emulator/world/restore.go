package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/statelog"
	"github.com/eic-agent/eic-agent/internal/keyrecord"
)

// savedMachine is what the state file has of an instance.
type savedMachine struct {
	Changes
	Launch                   *Instance `json:",omitempty"` // of one that RunInstances has made
	Launched                 time.Time `json:",omitzero"`
	SerialSince, SerialEnded time.Time `json:",omitzero"`
	SerialOfGateway          bool      `json:",omitempty"`
	TokenKey                 []byte
	LaunchKey                string            `json:",omitempty"`
	Overrides                map[string][]byte `json:",omitempty"` // null: removed
}

type savedRecord struct {
	User      string
	Statement keyrecord.Statement
	Raw       []byte    `json:",omitempty"`
	IsRaw     bool      `json:",omitempty"`
	Expires   time.Time `json:",omitzero"`
	Console   bool      `json:",omitempty"`
}

func (m *Machine) saved() savedMachine {
	s := savedMachine{
		Changes: m.Changed, SerialSince: m.SerialSince, SerialEnded: m.SerialEnded, SerialOfGateway: m.SerialOfGateway,
		TokenKey: m.TokenKey[:], LaunchKey: m.LaunchKey, Overrides: m.Overrides,
	}
	if m.Run != nil {
		s.Launch, s.Launched = &m.Run.Instance, m.Launched
	}
	return s
}

// SaveMachine keeps what has changed of an instance.
func (t *Tx) SaveMachine(m *Machine) { t.save("machine/"+m.ID, m.saved()) }

// Restore reads the state file at path, or creates it. Instances of the options
// must have been added. Saved instances that are neither among these nor were
// launched by a call are dropped; for the others, saved changes override the
// options.
func (w *World) Restore(path string) error {
	if path == "" {
		return nil
	}
	log, entries, err := statelog.Open(path)
	if err != nil {
		return err
	}
	w.Lock()
	err = w.load(entries)
	w.log = log
	w.Unlock()
	if err != nil {
		log.Close()
		return fmt.Errorf("cannot use the state file %s: %w", path, err)
	}
	return nil
}

// Keep begins to write the state file. Before it, changes are not kept.
func (w *World) Keep() error {
	if w.log == nil {
		return nil
	}
	err := w.log.Start(func() []statelog.Entry {
		w.Lock()
		defer w.Unlock()
		return w.dump()
	}, w.takeBack)
	if err != nil {
		w.log.Close()
		return err
	}
	w.Lock()
	w.keeping = true
	w.Unlock()
	return nil
}

// takeBack undoes what could not be written.
func (w *World) takeBack(failed []*statelog.Change) []*statelog.Change {
	w.Lock()
	defer w.Unlock()
	all := append(failed, w.log.TakeQueued()...)
	for _, c := range slices.Backward(all) {
		c.Undo()
	}
	return all
}

// Close lets another emulator have the state file.
func (w *World) Close() {
	if w.log != nil {
		w.log.Close()
	}
}

func (w *World) load(entries []statelog.Entry) error {
	for _, machines := range []bool{true, false} { // records need their machines
		for _, e := range entries {
			kind, key, _ := strings.Cut(e.Key, "/")
			if (kind == "machine") != machines {
				continue
			}
			if err := w.loadOne(kind, key, e.Value); err != nil {
				return fmt.Errorf("%s: %w", e.Key, err)
			}
		}
	}
	for where, r := range w.regions {
		slices.SortStableFunc(r.KeyPairs, func(a, b *KeyPair) int { return a.Created.Compare(b.Created) })
		slices.SortStableFunc(r.LightsailKeys, func(a, b *LightsailKey) int { return a.Created.Compare(b.Created) })
		slices.SortStableFunc(r.Operations, func(a, b *Operation) int { return a.At.Compare(b.At) })
		for _, p := range r.KeyPairs {
			for _, m := range w.launchWith(where, p) {
				m.LaunchKey = p.Line + " " + p.Name
			}
		}
	}
	return nil
}

func (w *World) loadOne(kind, key string, value json.RawMessage) error {
	switch kind {
	case "blob":
		var data []byte
		if err := json.Unmarshal(value, &data); err != nil {
			return err
		}
		w.blobs[key] = data
		return nil
	case "machine":
		return w.loadMachine(key, value)
	case "record":
		return w.loadRecord(key, value)
	}
	where, _, ok := scopeOf(key)
	if !ok {
		return errors.New("no account and region")
	}
	r := w.RegionOf(where)
	switch kind {
	case "pair":
		return loadInto(&r.KeyPairs, value)
	case "lightsail":
		return loadInto(&r.LightsailKeys, value)
	case "operation":
		return loadInto(&r.Operations, value)
	case "endpoint":
		return loadInto(&r.Endpoints, value)
	case "default":
		return json.Unmarshal(value, &r.DefaultKey)
	case "serial":
		return json.Unmarshal(value, &r.SerialAccess)
	}
	return errors.New("unknown to this version of eic-emulator")
}

func loadInto[T any](list *[]*T, value json.RawMessage) error {
	item := new(T)
	if err := json.Unmarshal(value, item); err != nil {
		return err
	}
	*list = append(*list, item)
	return nil
}

func (w *World) loadMachine(id string, value json.RawMessage) error {
	var saved savedMachine
	if err := json.Unmarshal(value, &saved); err != nil {
		return err
	}
	m := w.Machine(id)
	if m == nil && saved.Launch != nil {
		var err error
		if m, err = NewMachine(*saved.Launch, true); err != nil {
			return err
		}
		m.Run, m.Launched = &Run{*saved.Launch}, saved.Launched
		w.machines = append(w.machines, m)
	}
	if m == nil {
		return nil
	}
	m.Apply(saved.Changes)
	copy(m.TokenKey[:], saved.TokenKey)
	m.SerialSince, m.SerialEnded, m.SerialOfGateway = saved.SerialSince, saved.SerialEnded, saved.SerialOfGateway
	if m.SerialOfGateway && m.SerialEnded.IsZero() {
		m.SerialEnded = w.Now() // it ended with the emulator that had it
	}
	m.Overrides = saved.Overrides
	if parts := strings.SplitN(saved.LaunchKey, " ", 3); len(parts) == 3 && parts[2] == m.KeyName {
		m.LaunchKey = saved.LaunchKey
	}
	return nil
}

func (w *World) loadRecord(key string, value json.RawMessage) error {
	id, number, _ := strings.Cut(key, "/")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return err
	}
	w.lastRecord = max(w.lastRecord, n)
	var saved savedRecord
	if err := json.Unmarshal(value, &saved); err != nil {
		return err
	}
	r := &Record{User: saved.User, Statement: saved.Statement, Expires: saved.Expires, Console: saved.Console, number: n}
	if saved.IsRaw {
		r.Raw = append([]byte{}, saved.Raw...)
	}
	if m := w.Machine(id); m != nil {
		m.Records.add(r, w.Now())
	}
	return nil
}

// dump returns everything that is kept, records last. It needs the lock.
func (w *World) dump() []statelog.Entry {
	var all []statelog.Entry
	put := func(key string, value any) { all = append(all, statelog.Entry{Key: key, Value: marshal(value)}) }
	for _, key := range w.BlobKeys("") {
		put("blob/"+key, w.blobs[key])
	}
	for _, m := range w.machines {
		put("machine/"+m.ID, m.saved())
	}
	for where, r := range w.regions {
		at := where.key() + "/"
		for _, p := range r.KeyPairs {
			put("pair/"+at+p.ID, p)
		}
		for _, k := range r.LightsailKeys {
			put("lightsail/"+at+k.ID, k)
		}
		for _, o := range r.Operations {
			put("operation/"+at+o.ID, o)
		}
		for _, e := range r.Endpoints {
			put("endpoint/"+at+e.ID, e)
		}
		if r.DefaultKey != nil {
			put("default/"+where.key(), r.DefaultKey)
		}
		if r.SerialAccess != nil {
			put("serial/"+where.key(), r.SerialAccess)
		}
	}
	now := w.Now()
	for _, m := range w.machines {
		for _, user := range m.Records.Users(now) {
			for _, r := range m.Records.Of(user, now) {
				put(recordKey(m, r), r.saved())
			}
		}
	}
	return all
}
