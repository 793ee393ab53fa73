package accept

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Penalty is the limit of an address whose connections sshd drops as a penalty
// (PerSourcePenalties, OpenSSH 9.8 and later). The text is to be followed by how long.
func (a *Access) Penalty(ctx context.Context, addr string) *Limit {
	list := addr
	if spared := a.values.Get("persourcepenaltyexemptlist"); spared != "" && spared != "none" {
		list = spared + "," + addr
	}
	return a.refuses(ctx, "client-penalty", a.change(ctx, "PerSourcePenaltyExemptList", list), "PerSourcePenalties",
		"drops connections from %s as a penalty: PerSourcePenalties is %s", addr, strings.Join(words(a.values.All("persourcepenalties")), " "))
}

// LongestPenalty returns how long a penalty lasts at most, 0 where that is not known.
// OpenSSH prints seconds: "max:600", since 10.4 "max:600.000000".
func (a *Access) LongestPenalty() time.Duration {
	for _, word := range words(a.values.All("persourcepenalties")) {
		if value, ok := strings.CutPrefix(word, "max:"); ok {
			seconds, _ := strconv.ParseFloat(value, 64)
			return time.Duration(seconds * float64(time.Second))
		}
	}
	return 0
}

// Startups is the limit of an sshd that has dropped connections past MaxStartups.
func (a *Access) Startups(ctx context.Context) *Limit {
	value := a.values.Get("maxstartups")
	more := "100:30:200"
	var begin, rate, full int
	if n, _ := fmt.Sscanf(value, "%d:%d:%d", &begin, &rate, &full); n == 3 {
		more = fmt.Sprintf("%d:%d:%d", max(100, 4*begin), min(rate, 30), max(200, 4*full))
	}
	return a.refuses(ctx, "max-startups", a.change(ctx, "MaxStartups", more), "MaxStartups", "drops connections while too many are under way: MaxStartups is %s", value)
}
