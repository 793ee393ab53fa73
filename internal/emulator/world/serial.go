package world

import (
	"strconv"
	"time"
)

// SerialSessionLimit is when a serial console session is over.
const SerialSessionLimit = time.Hour

// SerialUser returns the login name that the serial console gateway uses for a
// port of an instance. A key pushed for the port is published for that name.
func SerialUser(instanceID string, port int) string {
	return instanceID + ".port" + strconv.Itoa(port)
}

// SerialAccessOf reports whether an account may use the serial console in a
// region; otherwise is for one that has not set the switch. It needs the lock.
func (w *World) SerialAccessOf(where Scope, otherwise bool) bool {
	if set := w.RegionOf(where).SerialAccess; set != nil {
		return *set
	}
	return otherwise
}

// SerialBusy reports whether an instance has a serial console session, or had one
// less than pause ago. It needs the lock.
func (w *World) SerialBusy(m *Machine, pause time.Duration) bool {
	if m.SerialSince.IsZero() {
		return false
	}
	now, ended := w.Now(), m.SerialEnded
	if over := m.SerialSince.Add(SerialSessionLimit); ended.IsZero() && !now.Before(over) {
		ended = over
	}
	return ended.IsZero() || now.Before(ended.Add(pause))
}

// StartSerial begins a serial console session, whose number it returns.
func (t *Tx) StartSerial(m *Machine, ofGateway bool) (number uint64) {
	Set(t, &m.SerialSince, t.w.Now())
	Set(t, &m.SerialEnded, time.Time{})
	Set(t, &m.SerialOfGateway, ofGateway)
	m.SerialNumber++ // not undone: numbers are not used twice
	t.SaveMachine(m)
	return m.SerialNumber
}

// EndSerial ends one session, and no later one.
func (t *Tx) EndSerial(m *Machine, number uint64) {
	if m.SerialNumber == number && !m.SerialSince.IsZero() && m.SerialEnded.IsZero() {
		Set(t, &m.SerialEnded, t.w.Now())
		t.SaveMachine(m)
	}
}
