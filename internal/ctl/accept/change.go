package accept

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/eic-agent/eic-agent/internal/sshd"
)

// place returns the line that sets a keyword, or the zero Setting.
func (a *Access) place(ctx context.Context, keyword string) sshd.Setting {
	config, err := a.server.Config()
	if err != nil {
		return sshd.Setting{}
	}
	for _, name := range []string{keyword, earlier[keyword]} {
		if set, err := a.server.Place(ctx, config, strings.ToLower(name), a.conn); name != "" && err == nil && !set.IsZero() {
			return set
		}
	}
	return sshd.Setting{}
}

// earlier are the names that keywords had, which sshd still takes.
var earlier = map[string]string{
	acceptedAlgorithms: acceptedKeyTypes, "RequiredRSASize": "RSAMinSize",
}

// change returns commands that set a keyword to a value and have sshd read it, or, for
// sshd's command line, what to do.
func (a *Access) change(ctx context.Context, keyword, value string) string {
	set := a.place(ctx, keyword)
	line := escape(keyword + " " + value)
	switch {
	case set.Option != "":
		return fmt.Sprintf("set %s %s in sshd's command line, which %s has, and restart sshd", keyword, value, set.Option)
	// A file of the crypto policy is written by update-crypto-policies: the line before
	// all others wins over it.
	case set.IsZero(), set.File == "", strings.Contains(set.File, "/crypto-policies/"):
		return Apply(a.server, fmt.Sprintf("sed -i '1i %s' %s", line, a.server.ConfigFile))
	}
	return Apply(a.server, fmt.Sprintf("sed -i '%ds|.*|%s|' %s", set.Line, line, set.File))
}

// add returns commands that add a word to the list of a keyword: in the line that sets it,
// whose other words stay as they are.
func (a *Access) add(ctx context.Context, keyword, word string, list []string) string {
	set := a.place(ctx, keyword)
	if set.File != "" && set.Option == "" {
		list = sshd.Words(set.Value)
	}
	return a.change(ctx, keyword, quoted(append(slices.Clone(list), word)))
}

// quoted writes a list as sshd reads it.
func quoted(list []string) string {
	list = slices.Clone(list)
	for i, word := range list {
		if strings.ContainsAny(word, " \t#") {
			list[i] = `"` + word + `"`
		}
	}
	return strings.Join(list, " ")
}

// without returns commands that take words out of the lines of a keyword that sshd goes by:
// those of other Match blocks stay.
func (a *Access) without(ctx context.Context, keyword string, isOut func(string) bool) string {
	config, err := a.server.Config()
	if err != nil {
		return ""
	}
	from := a.place(ctx, keyword)
	var edits []string
	// From the end, so that the numbers of the lines before hold.
	all := config.All(strings.ToLower(keyword))
	slices.Reverse(all)
	for _, set := range all {
		fields := sshd.Words(set.Value)
		kept := slices.DeleteFunc(slices.Clone(fields), isOut)
		switch {
		case len(kept) == len(fields) || set.File == "" || !from.IsZero() && !slices.Equal(set.Match, from.Match):
		case len(kept) == 0:
			edits = append(edits, fmt.Sprintf("sed -i '%dd' %s", set.Line, set.File))
		default:
			edits = append(edits, fmt.Sprintf("sed -i '%ds|.*|%s|' %s", set.Line, escape(keyword+" "+quoted(kept)), set.File))
		}
	}
	if len(edits) == 0 {
		return fmt.Sprintf("change %s in sshd's command line, and restart sshd", keyword)
	}
	return Apply(a.server, strings.Join(edits, " && "))
}

// escape makes text inert in a replacement of sed, and in single quotes.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `&`, `\&`, `|`, `\|`, `'`, `'\''`).Replace(text)
}

// Apply appends to a command that changes sshd's configuration the commands by which
// sshd tests and reloads it on this host.
func Apply(server *sshd.Server, command string) string {
	command += " && " + server.TestCommand()
	// Where none runs, the next one reads it anyway.
	if _, running := server.Listener(); running {
		command += " && " + server.ReloadCommand()
	}
	return command
}

// matchHost does what sshd does with the host of a word of AllowUsers, without UseDNS: a
// list of addresses, networks and patterns, of which one with ! denies.
func matchHost(list string, conn sshd.Connection) bool {
	addr, err := netip.ParseAddr(conn.Addr)
	matched := false
	for element := range strings.SplitSeq(list, ",") {
		pattern, denies := strings.CutPrefix(element, "!")
		is := sshd.MatchList([]string{pattern}, conn.Addr) || conn.Host != "" && sshd.MatchList([]string{pattern}, strings.ToLower(conn.Host))
		if prefix, prefixErr := netip.ParsePrefix(pattern); prefixErr == nil && err == nil {
			is = prefix.Contains(addr.Unmap())
		}
		if is && denies {
			return false
		}
		matched = matched || is
	}
	return matched
}
