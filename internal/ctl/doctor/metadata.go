package doctor

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/instance"
)

// slowAnswer is what makes the metadata service slow: a run takes up to four
// answers one after the other, inside [imds] timeout.
const slowAnswer = 800 * time.Millisecond

func (p probed) slow() bool {
	return max(p.Contact.Token.Took, p.Contact.Entry.Took) > slowAnswer
}

// allowFix lets an account reach an address. An accepting rule ends one chain only, so
// that it has to stand first in each that looks at what leaves the host.
func (e *exam) allowFix(host, account string) fix {
	family, program := "ip", "iptables"
	if strings.Contains(host, ":") {
		family, program = "ip6", "ip6tables"
	}
	var rules []string
	if out, err := run(e.ctx, "nft", "-j", "list", "chains"); err == nil {
		for _, c := range outputChains(out, family) {
			rules = append(rules, fmt.Sprintf("nft insert rule %s %s daddr %s meta skuid %s accept", c, family, host, account))
		}
	}
	switch {
	case len(rules) > 0:
		return shell("%s   # until the firewall is reloaded", strings.Join(rules, " && "))
	case present(program):
		return shell("%s -I OUTPUT -d %s -m owner --uid-owner %s -j ACCEPT   # until the firewall is reloaded", program, host, account)
	}
	return advice("allow user %s to reach %s in this host's firewall", account, host)
}

// outputChains returns the chains, as "family table name", that nft lists as looking at
// packets of a family which leave the host.
func outputChains(list, family string) (chains []string) {
	var ruleset struct {
		Objects []struct {
			Chain struct{ Family, Table, Name, Hook string }
		} `json:"nftables"`
	}
	if json.Unmarshal([]byte(list), &ruleset) != nil {
		return nil
	}
	for _, o := range ruleset.Objects {
		if c := o.Chain; c.Hook == "output" && (c.Family == family || c.Family == "inet") {
			chains = append(chains, c.Family+" "+c.Table+" "+c.Name)
		}
	}
	return chains
}

// ownID returns the id of this instance, or what stands for it in a command.
func ownID() string {
	if id, err := instance.Identify(os.DirFS("/")); err == nil && id != "" {
		return id
	}
	return noID
}

// noID stands for the id of this instance in a command.
const noID = "ID"

// checkMetadata asks the metadata service as the account that sshd runs the
// command as, which a firewall may treat otherwise than root.
func checkMetadata(e *exam, f *findings) {
	const id = "imds"
	p := e.probe()
	if why := p.blind(); why != "" {
		f.unknown(id, "%s", because(why))
		return
	}
	c := p.Contact
	problem, text, fix := c.complaint(ownID())
	where := "the metadata service at " + c.Endpoint
	switch {
	case (problem != nil || p.slow()) && e.notEC2():
		f.unknown(id, "%s", because("this host cannot be identified as an EC2 instance"))
		return
	case problem == nil && p.slow():
		f.problem(imdsSlow, advice("find out what delays it: curl -s -o /dev/null -w '%%{time_total}\\n' -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' %s/latest/api/token", c.Endpoint),
			"%s takes %v to answer; a login needs up to four answers within %v", where, max(c.Token.Took, c.Entry.Took).Round(time.Millisecond), e.config().cfg.IMDS.Timeout)
	case problem == nil:
		f.ok(id, "%s answers user %s within %v", where, p.as, max(c.Token.Took, c.Entry.Took).Round(100*time.Microsecond))
	case c.Dial == "" && (c.Token.Fail == failTimeout || c.Entry.Fail == failTimeout) && p.asked && p.UID != 0 && e.own().good():
		f.problem(imdsSlow, advice("try again, and find out what delays it, such as a program that sends many requests: ss -tnp dst %s", c.host()),
			"%s sometimes takes more than %v to answer; a login needs up to four answers within %v", where, answerPatience, e.config().cfg.IMDS.Timeout)
	case p.asked && p.UID != 0 && c.Dial != "" && e.own().good():
		f.problem(imdsFirewalled, e.allowFix(c.host(), p.as),
			"%s answers root but not user %s: a firewall rule on this host blocks that user (it %s)", where, p.as, text)
	case p.Other != "":
		f.problem(imdsOtherFamily, e.keyFix("imds", "endpoint", `"auto"`),
			"%s cannot be reached, but the one at %s can", where, p.Other)
	default:
		f.problem(problem, advice("%s", fix), "%s %s", where, text)
	}
	if !p.asked {
		f.unknown("imds-as-user", "cannot check whether the metadata service answers the command's user; checked as %s instead: %s", p.as, p.why)
	}
}
