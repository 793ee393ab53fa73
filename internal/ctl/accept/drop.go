package accept

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/ctl/journal"
	"github.com/eic-agent/eic-agent/internal/ctl/sshlog"
)

// dropSpan is how far back the journal is read.
const dropSpan = time.Hour

// drops are what the listener has logged of connections that it did not serve.
type drops struct {
	penalties []*penalty
	startups  []journal.SSHRecord
}

// A penalty is that of one client, or of its network.
type penalty struct {
	client  netip.Prefix
	ends    time.Time
	logged  bool // sshd has logged for how long
	dropped []journal.SSHRecord
}

// Drops returns the limits by which sshd's listener has dropped connections of this
// user's address, or of any where that is not known, with the last words of sshd about it:
// penalties in force (PerSourcePenalties), and too many logins under way (MaxStartups). It
// reads the journal since sshd last read its configuration, an hour at most. Only root can
// tell, and where no listener runs there is none. The error says why the journal was not
// read.
func (a *Access) Drops(ctx context.Context, now time.Time) ([]Limit, error) {
	listener, running := a.server.Listener()
	if os.Geteuid() != 0 || !running {
		return nil, nil
	}
	since := now.Add(-dropSpan)
	// A reload ends every penalty.
	if read, err := a.server.LastRead(a.values); err == nil && read.At.After(since) {
		since = read.At
	}
	var d drops
	_, err := journal.Read(ctx, journal.Query{Since: since, Matches: []string{"SYSLOG_IDENTIFIER=sshd"}}, func(r *journal.Record) error {
		record := r.SSHD()
		// Only the listener that runs still knows of it.
		if record != nil && record.Root() && !record.Time.Before(since) && record.Origin.Process().PID == uint64(listener.PID) {
			d.add(*record, a.longestPenalty())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.limits(ctx, a, now), nil
}

// add takes a record of the listener. longest is how long a penalty lasts at most, for
// an sshd that does not log how long it does.
func (d *drops) add(r journal.SSHRecord, longest time.Duration) {
	client, err := clientOf(r.Address)
	switch {
	case r.Limit == sshlog.LimitStartups:
		d.startups = append(d.startups, r)
	case r.Limit != sshlog.LimitPenalties || err != nil:
	case r.Meaning == sshlog.Dropped:
		p := d.of(client)
		p.dropped = append(p.dropped, r)
		if !p.logged || r.Time.After(p.ends) {
			p.logged, p.ends = false, r.Time.Add(longest)
		}
	case r.Lasts > 0:
		p := d.of(client)
		p.client, p.logged, p.ends = client, true, r.Time.Add(r.Lasts)
	}
}

// of returns the penalty that holds for a client.
func (d *drops) of(client netip.Prefix) *penalty {
	for _, p := range d.penalties {
		if p.client.Overlaps(client) {
			return p
		}
	}
	p := &penalty{client: client}
	d.penalties = append(d.penalties, p)
	return p
}

// clientOf reads an address, or an address with the length of its network.
func clientOf(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return addr.Prefix(addr.BitLen())
}

func (d *drops) limits(ctx context.Context, a *Access, now time.Time) (list []Limit) {
	from, err := clientOf(a.conn.Addr)
	for _, p := range d.penalties {
		if len(p.dropped) == 0 || p.ends.Before(now) || err == nil && !p.client.Overlaps(from) {
			continue
		}
		limit := a.penalized(ctx, p)
		if err != nil {
			limit.Status = Unknown
		}
		list = append(list, limit)
	}
	if len(d.startups) > 0 {
		list = append(list, a.tooManyStartups(ctx, d.startups))
	}
	return list
}

// penalized is the limit of a client whose connections sshd drops as a penalty (OpenSSH
// 9.8 and later).
func (a *Access) penalized(ctx context.Context, p *penalty) Limit {
	client := strings.TrimSuffix(strings.TrimSuffix(p.client.String(), "/32"), "/128")
	list := client
	if spared := a.values.Get("persourcepenaltyexemptlist"); spared != "" && spared != "none" {
		list = spared + "," + client
	}
	limit := a.refuses(ctx, "client-penalty", a.change(ctx, "PerSourcePenaltyExemptList", list), "PerSourcePenalties",
		"drops connections from %s as a penalty: PerSourcePenalties is %s", client, strings.Join(words(a.values.All("persourcepenalties")), " "))
	limit.Text += fmt.Sprintf("; it dropped %s; the penalty ends by %s", counted(p.dropped), p.ends.UTC().Format(time.RFC3339))
	return *limit
}

// counted counts records of dropped connections and quotes the last.
func counted(records []journal.SSHRecord) string {
	last := records[len(records)-1]
	times := fmt.Sprintf("%d times", len(records))
	if len(records) == 1 {
		times = "once"
	}
	return fmt.Sprintf("%s, last at %s: %q", times, last.Time.UTC().Format(time.RFC3339), last.Text)
}

// longestPenalty returns how long a penalty lasts at most, 0 where that is not known.
// OpenSSH prints seconds: "max:600", since 10.4 "max:600.000000".
func (a *Access) longestPenalty() time.Duration {
	for _, word := range words(a.values.All("persourcepenalties")) {
		if value, ok := strings.CutPrefix(word, "max:"); ok {
			seconds, _ := strconv.ParseFloat(value, 64)
			return time.Duration(seconds * float64(time.Second))
		}
	}
	return 0
}

// tooManyStartups is the limit of an sshd that has dropped connections because too many
// logins were under way, from all clients or, with PerSourceMaxStartups, from one.
func (a *Access) tooManyStartups(ctx context.Context, records []journal.SSHRecord) Limit {
	value := a.values.Get("maxstartups")
	keyword, more := "MaxStartups", "100:30:200"
	var begin, rate, full int
	if n, _ := fmt.Sscanf(value, "%d:%d:%d", &begin, &rate, &full); n == 3 {
		more = fmt.Sprintf("%d:%d:%d", max(100, 4*begin), min(rate, 30), max(200, 4*full))
	}
	// Before MaxStartups begins to drop, only the other limit does.
	perSource, err := strconv.Atoi(a.values.Get("persourcemaxstartups"))
	isBelow := func(r journal.SSHRecord) bool {
		return r.Meaning == sshlog.Dropped && r.Port != "" && r.Startups < begin
	}
	if err == nil && slices.ContainsFunc(records, isBelow) {
		keyword, value, more = "PerSourceMaxStartups", strconv.Itoa(perSource), strconv.Itoa(4*perSource)
		if perSource == 0 {
			more = "none"
		}
	}
	limit := a.refuses(ctx, "max-startups", a.change(ctx, keyword, more), keyword, "drops connections while too many logins are under way: %s is %s", keyword, value)
	limit.Status = Note
	limit.Text += "; it said so " + counted(records)
	return *limit
}
