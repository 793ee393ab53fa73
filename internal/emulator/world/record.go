package world

import (
	"fmt"
	"strings"
)

func recordKey(m *Machine, r *Record) string { return fmt.Sprintf("record/%s/%d", m.ID, r.number) }

func (r *Record) saved() savedRecord {
	return savedRecord{r.User, r.Statement, r.Raw, r.Raw != nil, r.Expires, r.Console}
}

// Publish adds a record to what the metadata service of an instance serves.
func (t *Tx) Publish(m *Machine, r *Record) error {
	if r.User == "" || strings.Contains(r.User, "/") {
		return fmt.Errorf("%q is not a valid user name: the metadata service has no path for it", r.User)
	}
	t.w.lastRecord++
	r.number = t.w.lastRecord
	m.Records.add(r, t.w.Now())
	t.Undo(func() { m.Records.removeOne(r) })
	t.save(recordKey(m, r), r.saved())
	return nil
}

// Withdraw removes the records that are wanted gone.
func (t *Tx) Withdraw(m *Machine, gone func(*Record) bool) {
	now := t.w.Now()
	before := m.Records.clone()
	t.Undo(func() { m.Records = before })
	for _, user := range m.Records.Users(now) {
		for _, r := range m.Records.Of(user, now) {
			if gone(r) {
				t.save(recordKey(m, r), nil)
				m.Records.removeOne(r)
			}
		}
	}
}
