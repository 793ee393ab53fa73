package doctor

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/need"
)

const imdsAddress = "169.254.169.254"

// faulty orders a fault of the emulator.
func faulty(text string) func(*testing.T) {
	return func(t *testing.T) {
		if err := w.emulator.InjectFault(text); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.emulator.ClearFaults("") })
	}
}

// served puts something before the emulator.
func served(handler func(http.ResponseWriter, *http.Request, http.Handler)) func(*testing.T) {
	return func(t *testing.T) {
		real := w.emulator.IMDSHandler(emulator.DefaultInstanceID)
		w.serve(func(rw http.ResponseWriter, r *http.Request) { handler(rw, r, real) })
		t.Cleanup(func() { w.serve(nil) })
	}
}

// ruled sets nftables' rules for what this host sends.
func ruled(rule string) func(*testing.T) {
	set := shell("nft -f - <<'E'\ntable inet eic { chain out { type filter hook output priority 0; "+rule+"; }; }\nE\n", "nft delete table inet eic")
	return func(t *testing.T) {
		need.Program(t, "nft")
		set(t)
	}
}

// blind does not answer requests of a kind.
func blind(when func(*http.Request) bool) func(*testing.T) {
	return served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
		if when(r) {
			<-r.Context().Done()
			return
		}
		real.ServeHTTP(rw, r)
	})
}

// answers gives every request for a token the same answer.
func answers(status int, body string) func(*testing.T) {
	return served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
		if r.Method == http.MethodPut {
			rw.WriteHeader(status)
			fmt.Fprint(rw, body)
			return
		}
		real.ServeHTTP(rw, r)
	})
}

func metadataFaults() []fault {
	isToken := func(r *http.Request) bool { return r.Method == http.MethodPut }
	down := func(cidr string) func(*testing.T) {
		return shell("ip address del "+cidr+" dev lo", "ip address add "+cidr+" dev lo nodad")
	}
	return []fault{
		one("nobody listens", instead(config+"[imds]\nendpoint = \"http://127.0.0.1:9\"\n"), "imds-refused"),
		one("no route", instead(config+"[imds]\nendpoint = \"http://192.0.2.1\"\n"), "imds-no-route").leaving("clock", "record", "signer"),
		one("only by IPv6", down(imdsAddress+"/32"), "imds-other-family"),
		one("only by IPv4", func(t *testing.T) {
			instead(config + "[imds]\nendpoint = \"http://[fd00:ec2::254]\"\n")(t)
			down("fd00:ec2::254/128")(t)
		}, "imds-other-family"),
		one("the hop limit", blind(isToken), "imds-hop-limit").leaving("record", "signer"),
		one("no answer", blind(func(*http.Request) bool { return true }), "imds-silent"),
		one("no answer to a token", blind(func(r *http.Request) bool { return !isToken(r) }), "imds-silent"),
		one("turned off", func(t *testing.T) {
			if err := w.emulator.SetMetadataOff(emulator.DefaultInstanceID, true); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.emulator.SetMetadataOff(emulator.DefaultInstanceID, false) })
		}, "imds-disabled"),
		one("behind a proxy", served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			r.Header.Set("X-Forwarded-For", "192.0.2.1")
			real.ServeHTTP(rw, r)
		}), "imds-proxied"),
		one("only version 1", served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			if isToken(r) {
				http.Error(rw, "", http.StatusNotFound)
				return
			}
			fmt.Fprintln(rw, emulator.DefaultInstanceID)
		}), "imds-v1-only"),
		one("a page to sign in", faulty("html"), "imds-foreign"),
		one("a redirect", faulty("redirect"), "imds-redirected"),
		one("throttled", answers(http.StatusTooManyRequests, ""), "imds-throttled"),
		one("failing", answers(http.StatusInternalServerError, ""), "imds-failing"),
		one("the connection is reset", faulty("reset"), "imds-no-http"),
		one("the token is refused", served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			if !isToken(r) {
				r.Header.Set("X-Aws-Ec2-Metadata-Token", "b3RoZXI=")
			}
			real.ServeHTTP(rw, r)
		}), "imds-token-refused"),
		one("slow", func(t *testing.T) {
			configured("[imds]\ntimeout = \"1s\"\n")(t)
			faulty("latency=900ms")(t)
		}, "imds-slow"),
		one("a firewall drops the command's user", ruled("ip daddr "+imdsAddress+" meta skuid "+agentUser+" drop"), "imds-firewalled"),
		one("a firewall rejects the command's user", ruled("ip daddr "+imdsAddress+" meta skuid "+agentUser+" reject"), "imds-firewalled"),
		one("a firewall lets root only", ruled("ip daddr "+imdsAddress+" meta skuid != 0 reject with icmp type admin-prohibited"), "imds-firewalled"),
		one("a firewall drops everybody", ruled("tcp dport 80 drop"), "imds-dropped"),
		one("a firewall rejects everybody", ruled("tcp dport 80 reject with tcp reset"), "imds-refused"),
	}
}

// dated serves another time.
func dated(ahead time.Duration) func(*testing.T) {
	return served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
		rw.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		real.ServeHTTP(rw, r)
	})
}

// shifted has AWS's clock be ahead of this host's, for all that it signs.
func shifted(t *testing.T, ahead time.Duration) {
	dated(ahead)(t)
	w.clock.Store(int64(ahead))
	t.Cleanup(func() { w.clock.Store(0) })
}

func pushed(t *testing.T) { push(t, publicKey) }

func push(t *testing.T, key string) {
	t.Helper()
	if _, err := w.emulator.Push(emulator.DefaultInstanceID, user, key, "arn:aws:iam::123456789012:user/alice"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.emulator.Withdraw(emulator.DefaultInstanceID, user) })
}

// without serves everything but one entry.
func without(path string) func(*testing.T) {
	return served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
		if strings.HasPrefix(r.URL.Path, "/latest/meta-data/"+path) {
			http.NotFound(rw, r)
			return
		}
		real.ServeHTTP(rw, r)
	})
}

func instanceFaults() []fault {
	return []fault{
		one("the clock is ahead", dated(-30*time.Second), "clock-ahead"),
		one("the clock is behind", dated(2*time.Minute), "clock-behind"),
		one("the clock is ahead, and a key pushed", func(t *testing.T) {
			shifted(t, -2*time.Minute)
			pushed(t)
		}, "clock-ahead"),
		one("the clock is days behind, and a key pushed", func(t *testing.T) {
			shifted(t, 30*24*time.Hour)
			pushed(t)
		}, "clock-behind").leaving("record", "signer", "staple"),
		one("no board", func(t *testing.T) { write(t, boardPath, "\n", 0o644) }, "not-ec2").leaving("record", "signer"),
		one("no board, and no metadata service", func(t *testing.T) {
			write(t, boardPath, "\n", 0o644)
			instead(config + "[imds]\nendpoint = \"http://127.0.0.1:9\"\n")(t)
		}, "not-ec2").leaving("clock", "imds", "record", "signer"),
		one("no board, and a metadata service that is turned off", func(t *testing.T) {
			write(t, boardPath, "\n", 0o644)
			answers(http.StatusForbidden, "")(t)
		}, "not-ec2"),
		one("only root may read the board", shell("chmod 0400 "+boardPath, "chmod 0644 "+boardPath), "board-unreadable"),
		one("another board", func(t *testing.T) { write(t, boardPath, "i-0aaaaaaaaaaaaaaaa\n", 0o644) }, "instance-mismatch"),
		one("no instance id", faulty("fact-instance-id=localhost"), "instance-id-bad"),
		one("no region", without("placement/region"), "region-missing").leaving("signer"),
		one("a region that is none", faulty("fact-region=<html>"), "region-bad"),
		one("a zone in the region's place", faulty("fact-region=us-east-1a"), "region-bad").leaving("signer"),
		one("a domain with an empty label", faulty("fact-domain=amazonaws..com"), "domain-bad").leaving("signer"),
		one("a token of other characters", answers(http.StatusOK, "!to.ken~"), "imds-token-refused"),
		one("a region for the terminal", served(func(rw http.ResponseWriter, r *http.Request, real http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/placement/region") {
				fmt.Fprint(rw, "\x1b]0;owned\x07\r\nus-east-1")
				return
			}
			real.ServeHTTP(rw, r)
		}), "region-bad"),
		one("no domain", without("services/domain"), "domain-missing"),
		one("a domain that is none", faulty("fact-domain=not a domain"), "domain-bad"),
	}
}

func chainFaults() []fault {
	return []fault{
		one("no chain", without("managed-ssh-keys/signer-cert"), "signer-missing"),
		one("the chain leads elsewhere", faulty("chain-foreign"), "signer-untrusted"),
		one("the chain is empty", faulty("chain-empty"), "signer-untrusted"),
		one("the signer has expired", faulty("leaf-expired"), "signer-expired").leaving("certificate"),
		one("the signer is not valid yet", faulty("leaf-future"), "signer-expired"),
		one("Amazon's own roots only", instead(""), "signer-untrusted"),
		one("the signer of another region", faulty("leaf-region"), "signer-name"),
		one("another region", faulty("fact-region=eu-west-1"), "signer-name"),
		one("another domain", faulty("fact-domain=example.net"), "signer-name"),
		one("the signer is revoked", faulty("staple-revoked,certificate=leaf"), "signer-revoked"),
		one("no staple", faulty("staple-missing"), "staple-missing"),
		one("a staple that has ended", faulty("staple-expired"), "staple-stale").leaving("staple"),
		one("a staple that has not begun", faulty("staple-future,certificate=intermediate"), "staple-stale"),
		one("a staple of somebody else", faulty("staple-foreign"), "staple-untrusted"),
		one("the chain cannot be had", faulty("status=500,path=/latest/meta-data/managed-ssh-keys/signer-cert"), "imds-error"),
		one("the keys cannot be had", faulty("status=500,path=/latest/meta-data/managed-ssh-keys/active-keys"), "imds-error"),
		one("the keys do not come", func(t *testing.T) {
			configured("[imds]\ntimeout = \"1s\"\n")(t)
			faulty("hang,path=/latest/meta-data/managed-ssh-keys/active-keys")(t)
		}, "imds-unreachable"),
		one("the signer ends soon", func(t *testing.T) {
			// What was made then is served still.
			w.clock.Store(int64(-7*24*time.Hour + time.Hour + 20*time.Minute))
			t.Cleanup(func() { w.clock.Store(0) })
		}, "signer-ends-soon"),
	}
}

func recordFaults() []fault {
	record := func(name, text, want string) fault {
		return one(name, func(t *testing.T) {
			pushed(t)
			faulty(text)(t)
		}, want)
	}
	return []fault{
		record("an expired record", "record-expired", "expired"),
		record("a record for an hour", "record-long-lived", "lifetime-too-long"),
		record("a record of another instance", "record-foreign", "wrong-instance"),
		record("a record with options", "record-options", "malformed"),
		record("a forged record", "record-foreign-signer", "bad-signature"),
		record("an altered record", "record-tampered", "bad-signature"),
		one("no row for the caller", func(t *testing.T) {
			pushed(t)
			configured("[[users.map]]\ncaller = \"arn:aws:iam::123456789012:user/bob\"\nusers = [\"alice\"]\n")(t)
		}, "caller-not-mapped"),
		one("a type that is not allowed", func(t *testing.T) {
			pushed(t)
			configured("[keys]\ntypes = [\"ssh-rsa\"]\n")(t)
		}, "key-type"),
		one("a type that sshd refuses", func(t *testing.T) {
			pushed(t)
			told("PubkeyAcceptedAlgorithms rsa-*")(t)
		}, "key-type-refused"),
		one("a size that sshd refuses", func(t *testing.T) {
			push(t, longKey)
			told("RequiredRSASize 3072")(t)
		}, "key-size-refused"),
		one("a key that sshd has revoked", func(t *testing.T) {
			pushed(t)
			write(t, "/etc/ssh/revoked", publicKey+"\n", 0o644)
			told("RevokedKeys /etc/ssh/revoked")(t)
		}, "key-revoked"),
		one("a short key", func(t *testing.T) { push(t, shortKey) }, "key-too-short"),
		one("a user in no row, and a key pushed", func(t *testing.T) {
			pushed(t)
			configured("[[users.map]]\ncaller = \"arn:*:*:*:*:*\"\nusers = [\"bob\"]\n")(t)
		}, "user-not-mapped").leaving("record"),
		one("a denied user, and a key pushed", func(t *testing.T) {
			pushed(t)
			configured("[users]\ndeny = [\"alice\"]\n")(t)
		}, "user-denied"),
	}
}
