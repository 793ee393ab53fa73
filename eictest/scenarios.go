package eictest

// Granted is what a Scenario wants when the key is to be let in.
const Granted = "granted"

// None is what a Scenario wants when there is nothing to let in, and nothing
// wrong either.
const None = "none"

// A Scenario is a world that a key may be pushed into.
type Scenario struct {
	Name   string
	Faults []string // as Options.Faults
	// Want is Granted, None, or one of the agent's reason words: why the
	// record is refused, or why the run failed.
	Want string
	Doc  string
	Slow bool // the agent needs all of its time to tell
}

// Scenarios returns what an agent has to get right: with the faults in place
// and an RSA or ED25519 key pushed for a user of the first instance, a login of
// that user with that key comes to what Want says. Agents that keep a cache
// start each with an empty one.
func Scenarios() []Scenario {
	one := func(name, fault, want, doc string) Scenario {
		return Scenario{Name: name, Faults: []string{fault}, Want: want, Doc: doc}
	}
	slow := func(s Scenario) Scenario {
		s.Slow = true
		return s
	}
	return []Scenario{
		{Name: "plain", Want: Granted, Doc: "nothing is wrong"},

		one("latency", "latency=50ms", Granted, "every answer is late"),
		one("jitter", "jitter=80ms", Granted, "answers overtake each other"),
		one("drip", "drip=200us,path=/latest/meta-data/managed-ssh-keys/signer-ocsp", Granted, "staples come byte by byte"),
		one("one 503", "status=503,service=imds,times=1", Granted, "the first request is refused for now"),
		one("every third 503", "status=503,service=imds,share=0.34,times=4", Granted, "the service is overloaded"),
		one("one 500", "status=500,service=imds,times=1,after=1", Granted, "a fault of the service passes"),
		one("one 401", "status=401,path=/latest/meta-data,times=1", Granted, "the token is refused once"),
		one("one reset", "reset,path=/latest/meta-data/managed-ssh-keys/signer-cert,times=1", Granted, "a connection breaks"),
		one("one cut-off", "cut-off,path=/latest/meta-data/managed-ssh-keys,times=1", Granted, "an answer breaks off"),
		one("throttled", "throttle=8,service=imds", Granted, "the service takes eight requests a second"),
		slow(one("unreachable", "hang,service=imds", "imds-unreachable", "nobody answers")),
		slow(one("hanging staples", "hang,path=/latest/meta-data/managed-ssh-keys/signer-ocsp", "imds-unreachable", "requests for staples time out")),
		slow(one("503", "status=503,service=imds", "imds-error", "the service is down")),
		one("500", "status=500,service=imds", "imds-error", "the service is broken"),
		one("403", "status=403,service=imds", "imds-error", "the service is turned off"),
		one("resets", "reset,service=imds", "imds-error", "every connection breaks"),
		one("cut-offs", "cut-off,path=/latest/meta-data", "imds-error", "every answer breaks off"),
		one("endless", "endless,path=/latest/meta-data/managed-ssh-keys/active-keys", Granted, "the keys do not end, and those that are read are judged"),
		one("endless chain", "endless,path=/latest/meta-data/managed-ssh-keys/signer-cert", "imds-error", "the chain does not end"),
		one("redirect", "redirect,service=imds", "imds-error", "the service is said to be elsewhere"),
		one("no keys", "status=404,path=/latest/meta-data/managed-ssh-keys/active-keys", None, "nothing was pushed"),
		one("empty keys", "empty,path=/latest/meta-data/managed-ssh-keys/active-keys", None, "nothing is there, with status 200"),
		one("no chain", "status=404,path=/latest/meta-data/managed-ssh-keys/signer-cert", "imds-error", "there is no signer"),
		one("a page for keys", "html,path=/latest/meta-data/managed-ssh-keys/active-keys", "malformed", "a page stands where keys should be"),
		one("a page for the chain", "html,path=/latest/meta-data/managed-ssh-keys/signer-cert", "signer-untrusted", "a page stands where the chain should be"),

		one("clock 30 s ahead", "clock-skew=30s", Granted, "AWS's clock is a little ahead"),
		one("clock 30 s behind", "clock-skew=-30s", Granted, "AWS's clock is a little behind"),
		one("clock 5 min ahead", "clock-skew=5m", "lifetime-too-long", "the key would live for six minutes"),
		one("clock 5 min behind", "clock-skew=-5m", "expired", "the key ended minutes ago"),

		one("another region", "fact-region=eu-west-1", "signer-name", "IMDS reports another region"),
		one("no region", "fact-region=<html>", "signer-name", "the region is none"),
		one("another domain", "fact-domain=example.net", "signer-name", "IMDS reports the domain of no partition"),
		one("another partition", "fact-domain=amazonaws.com.cn", "signer-name", "IMDS reports another partition"),
		one("foreign domain", "foreign-domain", "signer-name", "domain and signer fit each other, and no partition"),
		one("another instance", "fact-instance-id=i-0fedcba9876543210", "wrong-instance", "IMDS reports another instance"),

		one("record expired", "record-expired", "expired", "the record is over"),
		one("record long-lived", "record-long-lived", "lifetime-too-long", "the record lives for an hour"),
		one("record foreign", "record-foreign", "wrong-instance", "the record is another instance's"),
		one("record tampered", "record-tampered", "bad-signature", "the caller was changed"),
		one("record key swapped", "record-key-swapped", "bad-signature", "the key was exchanged"),
		one("record foreign signer", "record-foreign-signer", "bad-signature", "somebody else signed"),
		one("record truncated", "record-truncated", "bad-signature", "half of the signature is missing"),
		one("record options", "record-options", "malformed", "the key comes with options"),
		one("record key cut", "record-key-cut", "malformed", "the key is cut in half"),
		one("record crlf", "record-crlf", "malformed", "the lines end in CR LF"),
		one("record anonymous", "record-anonymous", Granted, "nobody is named"),
		one("record after junk", "record-junk", Granted, "junk stands before the record"),
		one("record on one line", "record-one-line", Granted, "the signature is not wrapped"),

		one("leaf expired", "leaf-expired", "signer-untrusted", "the signer's certificate is over"),
		one("leaf future", "leaf-future", "signer-untrusted", "the signer's certificate has not begun"),
		one("leaf of another region", "leaf-region", "signer-name", "the signer is another region's"),
		one("leaf with a name only", "leaf-name-only", Granted, "the signer has a common name and no other"),
		one("chain foreign", "chain-foreign", "signer-untrusted", "the root has the right name and another key"),
		one("chain empty", "chain-empty", "signer-untrusted", "there is no certificate"),
		one("chain cut", "chain-cut", "signer-untrusted", "the intermediate is missing"),
		one("chain reversed", "chain-reversed", "signer-name", "the root comes first"),
		one("chain short", "chain-short", Granted, "the chain ends below the root"),
		one("chain long", "chain-long", Granted, "the chain has a certificate more"),

		one("staples by SHA-256", "staple-sha256-name", Granted, "staples have other names"),
		one("staples with SHA-256 ids", "staple-sha256-id", Granted, "staples name certificates in another way"),
		one("staples delegated", "staple-delegated", Granted, "a responder signs the staples"),
		one("leaf revoked", "staple-revoked,certificate=leaf", "signer-revoked", "the signer is revoked"),
		one("intermediate revoked", "staple-revoked,certificate=intermediate", "signer-revoked", "the intermediate is revoked"),
		one("staples unknown", "staple-unknown", "staple-untrusted", "the responder knows nothing"),
		one("staples expired", "staple-expired", "staple-stale", "the staples are over"),
		one("staple future", "staple-future,certificate=leaf", "staple-stale", "a staple has not begun"),
		one("staples timeless", "staple-timeless", "staple-stale", "the staples do not say until when"),
		one("staples foreign", "staple-foreign", "staple-untrusted", "somebody else signed the staples"),
		one("staples missing", "staple-missing", "staple-missing", "there are no staples"),
		one("intermediate's staple missing", "staple-missing,certificate=intermediate", "staple-missing", "one staple is missing"),
		one("root's staple missing", "staple-missing,certificate=root", Granted, "a staple that nobody needs is missing"),
		one("staples misnamed", "staple-misnamed", "staple-missing", "the staples are about other certificates"),
		one("staples junk", "staple-junk", "staple-missing", "the staples are not base64"),

		{Name: "two at once", Faults: []string{"latency=20ms", "staple-sha256-name", "record-junk"}, Want: Granted, Doc: "several things are odd"},
	}
}
