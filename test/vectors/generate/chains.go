package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

// chainVectors are the usual record under chains that differ.
func (w *world) chainVectors() {
	w.goodChains()
	w.partitions()
	w.signerNames()
	w.badChains()
}

// chain writes a vector of the usual record and the chain of certs.
func (w *world) chain(expect, name, comment string, v vector, certs ...*x509.Certificate) {
	v.chain = w.pem(name, certs...)
	w.chainFile(expect, name, comment, v)
}

func (w *world) chainFile(expect, name, comment string, v vector) {
	v.name, v.comment, v.expect = name, comment, expect
	v.body = w.good(w.keys.ed)
	if expect == "granted" {
		v.output = []string{w.keys.ed}
	}
	w.write(v)
}

// staplesFor writes good staples for a signer of w.inter.
func (w *world) staplesFor(name string, leaf *x509.Certificate) []servedStaple {
	return []servedStaple{w.staple(name+"-leaf", leaf, w.inter, current()), w.goodStaples[1]}
}

func (w *world) goodChains() {
	leaf, inter := w.leaf.Cert, w.inter.Cert
	w.chain("granted", "chain-without-root", "the root is not served", vector{}, leaf, inter)
	w.chain("granted", "chain-with-root", "the root is served", vector{}, leaf, inter, w.root.Cert)
	w.chain("granted", "chain-with-cross-signed-root", "a certificate above the pinned root needs no staple", vector{}, leaf, inter, w.rootCross)
	w.chain("granted", "chain-order", "the certificates above the signer are in any order", vector{}, leaf, w.legacy.Cert, w.rootCross, inter)
	unrelated := must(pki.NewRoot(valid("Unrelated CA")))
	w.chain("granted", "chain-unrelated", "an unrelated certificate is served as well", vector{}, leaf, unrelated.Cert, inter)
	w.chain("granted", "chain-twice", "a certificate is served twice", vector{}, leaf, inter, inter)
	text := append([]byte("subject=signer\n"), must(os.ReadFile(w.goodChain))...)
	w.chainFile("granted", "chain-with-text", "text stands between the certificates", vector{chain: w.file("chain-with-text.pem", text)})

	w.rotatedChain()
	w.skewedChains()
	w.signerSANs()
	w.usages()

	cnOnly := w.signer(w.inter, region, domain, func(t *x509.Certificate) { t.DNSNames = nil })
	w.chain("granted", "signer-without-san", "the signer has a common name only", vector{staples: w.staplesFor("signer-without-san", cnOnly.Cert)}, cnOnly.Cert, inter)
	noEKU := w.signer(w.inter, region, domain, func(t *x509.Certificate) { t.ExtKeyUsage = nil })
	w.chain("granted", "signer-without-eku", "the signer has no extended key usage", vector{staples: w.staplesFor("signer-without-eku", noEKU.Cert)}, noEKU.Cert, inter)

	both := w.pem("both-roots", w.root.Cert, w.legacy.Cert)
	cross := w.staple("cross-good", w.rootCross, w.legacy, current())
	w.chainFile("granted", "chain-two-roots", "both roots are pinned: the short path is enough", vector{roots: both})
	legacy := w.pem("legacy-root", w.legacy.Cert)
	w.chainFile("granted", "chain-legacy-root", "only the old root is pinned, and all below it is stapled", vector{roots: legacy, staples: append(w.goodStaples[:2:2], cross)})
	w.chainFile("staple-missing", "chain-legacy-root-unstapled", "only the old root is pinned, and the cross-signed root has no staple", vector{roots: legacy})
	revoked := current()
	revoked.Status = 1
	crossRevoked := w.staple("cross-revoked", w.rootCross, w.legacy, revoked)
	w.chainFile("granted", "chain-two-roots-one-revoked", "one path is revoked, the other is proved", vector{roots: both, staples: append(w.goodStaples[:2:2], crossRevoked)})
	w.crossedIntermediates(both)
	w.chainFile("signer-revoked", "chain-legacy-root-revoked", "the only path is revoked at the cross-signed root", vector{roots: legacy, staples: append(w.goodStaples[:2:2], crossRevoked)})
}

// rotatedChain is another signer of the same name, with a key of its own.
func (w *world) rotatedChain() {
	usual := w.leafKey
	w.leafKey = must(rsa.GenerateKey(rand.Reader, 2048))
	leaf := w.signer(w.inter, region, domain, nil).Cert
	w.chain("granted", "chain-rotated", "the signer that comes after the usual one", vector{staples: w.staplesFor("chain-rotated", leaf)}, leaf, w.inter.Cert)
	w.leafKey = usual
}

// crossedIntermediates are two certificates of one intermediate, by both roots:
// what is wrong on one path does not close the other.
func (w *world) crossedIntermediates(both string) {
	crossed := must(w.legacy.CrossSign(w.inter, valid("")))
	revoked := current()
	revoked.Status = 1
	staples := []servedStaple{w.goodStaples[0], w.staple("inter-revoked", w.inter.Cert, w.root, revoked), w.staple("crossed-good", crossed, w.legacy, current())}
	v := vector{roots: both, staples: staples}
	w.chain("granted", "chain-one-intermediate-revoked", "the first of two certificates of the intermediate is revoked", v, w.leaf.Cert, w.inter.Cert, crossed)
	w.chain("granted", "chain-one-intermediate-revoked-last", "the last of two certificates of the intermediate is revoked", v, w.leaf.Cert, crossed, w.inter.Cert)
	v.staples = staples[:2]
	w.chain("signer-revoked", "chain-one-intermediate-revoked-other-unstapled", "the other certificate of the intermediate has no staple", v, w.leaf.Cert, w.inter.Cert, crossed)
}

// partitions are the regions of all AWS partitions.
func (w *world) partitions() {
	for _, p := range []struct{ region, domain string }{
		{"us-gov-west-1", "amazonaws.com"}, {"us-west-2", "amazonaws.com"}, {"cn-north-1", "amazonaws.com.cn"}, {"us-iso-east-1", "c2s.ic.gov"},
		{"us-isob-east-1", "sc2s.sgov.gov"}, {"eu-isoe-west-1", "cloud.adc-e.uk"}, {"us-isof-south-1", "csp.hci.ic.gov"}, {"eusc-de-east-1", "amazonaws.eu"},
	} {
		name := "partition-" + p.region
		leaf := w.signer(w.inter, p.region, p.domain, nil)
		w.chain("granted", name, "the signer of "+p.region, vector{region: p.region, domain: p.domain, staples: w.staplesFor(name, leaf.Cert)}, leaf.Cert, w.inter.Cert)
	}
	evil := w.signer(w.inter, region, "evil.example", nil)
	v := vector{domain: "evil.example", staples: w.staplesFor("domain-foreign", evil.Cert)}
	w.chain("signer-name", "domain-foreign", "the metadata service names a domain of its own, and has a certificate for it", v, evil.Cert, w.inter.Cert)
	v.config = []string{"[trust]", `domains = ["evil.example"]`}
	v.chain = "pki/domain-foreign.pem"
	w.chainFile("granted", "domain-configured", "the administrator knows the domain", v)
}

func (w *world) signerNames() {
	for name, region := range map[string]string{"region-service": "s3", "region-bucket": "s3-us-west-2", "region-two-parts": "us-1", "region-no-number": "us-east-one",
		"region-trailing-dash": "us-east-1-", "region-with-dots": "us-east-1.x", "region-with-slash": "us-east-1/x", "region-too-long": strings.Repeat("x", 64)} {
		leaf := w.signer(w.inter, region, domain, func(t *x509.Certificate) { t.DNSNames = nil })
		w.chain("signer-name", name, "the metadata service has a certificate for what is no region", vector{region: region, staples: w.staplesFor(name, leaf.Cert)}, leaf.Cert, w.inter.Cert)
	}
	for name, c := range map[string]struct{ region, domain, comment string }{
		"region-other":       {"us-west-2", "", "the signer is that of another region"},
		"region-with-dot":    {"us-east-1.amazonaws.com.evil", "", "the region reaches into the domain"},
		"region-upper-case":  {"US-EAST-1", "", "the region is in upper case"},
		"region-empty":       {emptyValue, "", "there is no region"},
		"region-slash":       {"us-east-1/x", "", "the region has a slash"},
		"domain-other":       {"", "amazonaws.com.cn", "the domain is that of another partition"},
		"domain-prefix":      {"", "xamazonaws.com", "the domain ends like one of AWS"},
		"domain-suffix":      {"", "amazonaws.com.evil.example", "the domain begins like one of AWS"},
		"domain-trailing":    {"", "amazonaws.com.", "the domain ends in a dot"},
		"domain-upper-case":  {"", "AMAZONAWS.COM", "the domain is in upper case"},
		"domain-empty":       {"", emptyValue, "there is no domain"},
		"domain-second-line": {"", "amazonaws.com evil.example", "there are two domains"},
	} {
		w.chainFile("signer-name", name, c.comment, vector{region: c.region, domain: c.domain})
	}
	want := pki.SignerName(region, domain)
	cn := func(names ...string) func(*x509.Certificate) {
		return func(t *x509.Certificate) {
			t.Subject = pkix.Name{}
			for _, n := range names {
				t.Subject.ExtraNames = append(t.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: n})
			}
		}
	}
	for name, c := range map[string]struct {
		comment string
		change  func(*x509.Certificate)
	}{
		"signer-cn-upper-case":   {"the common name is in upper case", cn(strings.ToUpper(want))},
		"signer-cn-trailing-dot": {"the common name ends in a dot", cn(want + ".")},
		"signer-cn-subdomain":    {"the common name goes on", cn(want + ".evil.example")},
		"signer-cn-prefix":       {"something comes before the common name", cn("x." + want)},
		"signer-cn-wildcard":     {"the common name is a wildcard", cn("*." + region + "." + domain)},
		"signer-cn-missing":      {"the right name is only in the SAN", cn()},
		"signer-san-other":       {"the SAN holds another name", func(t *x509.Certificate) { t.DNSNames = []string{"evil.example"} }},
		"signer-san-e-mail":      {"the SAN holds an e-mail address only", func(t *x509.Certificate) { t.DNSNames, t.EmailAddresses = nil, []string{"a@amazonaws.com"} }},
		"signer-san-parent":      {"the SAN holds a wildcard two labels up", func(t *x509.Certificate) { t.DNSNames = []string{"*." + domain} }},
		"signer-san-subdomain":   {"the SAN holds a name below", func(t *x509.Certificate) { t.DNSNames = []string{"x." + want} }},
		"signer-cn-twice":        {"there are two common names, the last is the right one", cn("evil.example", want)},
	} {
		leaf := w.signer(w.inter, region, domain, c.change)
		w.chain("signer-name", name, c.comment, vector{staples: w.staplesFor(name, leaf.Cert)}, leaf.Cert, w.inter.Cert)
	}
}

func (w *world) badChains() {
	inter := w.inter.Cert
	refuse := func(name, comment string, leaf *x509.Certificate, staples []servedStaple, rest ...*x509.Certificate) {
		w.chain("signer-untrusted", name, comment, vector{staples: staples}, append([]*x509.Certificate{leaf}, rest...)...)
	}
	changed := func(name, comment string, change func(*x509.Certificate)) {
		leaf := w.signer(w.inter, region, domain, change).Cert
		refuse(name, comment, leaf, w.staplesFor(name, leaf), inter)
	}
	for name, usage := range map[string][]x509.ExtKeyUsage{"e-mail": {x509.ExtKeyUsageEmailProtection}, "client": {x509.ExtKeyUsageClientAuth}, "any": {x509.ExtKeyUsageAny}} {
		changed("signer-eku-"+name, "the signer has an extended key usage other than serverAuth", func(t *x509.Certificate) { t.ExtKeyUsage = usage })
	}
	changed("signer-key-usage", "the signer's key may sign certificates only", func(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageCertSign })
	changed("signer-expired", "the signer expired a second ago", func(t *x509.Certificate) { t.NotAfter = now.Add(-time.Second) })
	changed("signer-not-yet-valid", "the signer is valid from 61 seconds on", func(t *x509.Certificate) { t.NotBefore = now.Add(61 * time.Second) })
	changed("signer-critical-extension", "the signer has a critical extension that nobody knows", func(t *x509.Certificate) {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
	})

	withKey := func(name, comment string, pub any) {
		template := *w.leaf.Cert
		leaf := must(w.inter.Issue(&x509.Certificate{Subject: template.Subject, DNSNames: template.DNSNames, NotBefore: template.NotBefore, NotAfter: template.NotAfter}, pub))
		refuse(name, comment, leaf, w.staplesFor(name, leaf), inter)
	}
	withKey("signer-ecdsa", "the signer has an ECDSA key", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public())
	withKey("signer-rsa-huge", "the signer has an RSA key of 8200 bits", &rsa.PublicKey{N: number(8200), E: 65537})
	withKey("signer-rsa1024", "the signer has an RSA key of 1024 bits", &rsa.PublicKey{N: number(1024), E: 65537})

	// branch is a whole signing chain under an authority that is wrong.
	branch := func(name, comment string, by *pki.Authority, above ...*x509.Certificate) {
		leaf := w.signer(by, region, domain, nil).Cert
		staples := []servedStaple{w.staple(name+"-leaf", leaf, by, current())}
		if len(above) > 0 {
			staples = append(staples, w.goodOrOwn(name, above[0]))
		}
		refuse(name, comment, leaf, staples, above...)
	}
	foreign := must(pki.NewRoot(valid("Foreign Root CA")))
	foreignInter := must(foreign.NewIntermediate(valid("Foreign Server CA")))
	branch("root-foreign", "the chain leads to another root", foreignInter, foreignInter.Cert, foreign.Cert)
	impostor := must(pki.NewRoot(valid("Vector Root CA 1")))
	impostorInter := must(impostor.NewIntermediate(valid("Vector Server CA 1B")))
	branch("root-impostor", "the chain leads to a root of the same name with another key", impostorInter, impostorInter.Cert, impostor.Cert)

	own := func(name string, change func(*x509.Certificate)) *pki.Authority {
		o := valid("Vector Server CA 1C")
		o.Change = change
		return must(w.root.NewIntermediate(o))
	}
	intermediate := func(name, comment string, change func(*x509.Certificate)) {
		by := own(name, change)
		branch(name, comment, by, by.Cert)
	}
	intermediate("intermediate-expired", "the intermediate expired a second ago", func(t *x509.Certificate) { t.NotAfter = now.Add(-time.Second) })
	intermediate("intermediate-not-yet-valid", "the intermediate is valid from 61 seconds on", func(t *x509.Certificate) { t.NotBefore = now.Add(61 * time.Second) })
	intermediate("intermediate-no-ca", "the intermediate is no CA", func(t *x509.Certificate) { t.IsCA = false })
	intermediate("intermediate-no-cert-sign", "the intermediate may not sign certificates", func(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageDigitalSignature })
	intermediate("intermediate-name-constraint", "the intermediate may not sign for this domain", func(t *x509.Certificate) {
		t.PermittedDNSDomains, t.PermittedDNSDomainsCritical = []string{"example.com"}, true
	})

	for name, usage := range map[string][]x509.ExtKeyUsage{"e-mail": {x509.ExtKeyUsageEmailProtection}, "any": {x509.ExtKeyUsageAny}} {
		intermediate("intermediate-eku-"+name, "the intermediate has an extended key usage other than serverAuth", func(t *x509.Certificate) { t.ExtKeyUsage = usage })
	}
	cnOnly := func(name, comment string, change func(*x509.Certificate)) {
		by := own("", change)
		leaf := w.signer(by, region, domain, func(t *x509.Certificate) { t.DNSNames = nil }).Cert
		refuse(name, comment, leaf, []servedStaple{w.staple(name+"-leaf", leaf, by, current()), w.goodOrOwn(name, by.Cert)}, by.Cert)
	}
	cnOnly("intermediate-cn-not-permitted", "the intermediate may not sign for this domain, and the name is in the common name only", func(t *x509.Certificate) {
		t.PermittedDNSDomains = []string{"example.com"}
	})
	cnOnly("intermediate-cn-excluded", "the intermediate may sign for all other domains, and the name is in the common name only", func(t *x509.Certificate) {
		t.ExcludedDNSDomains = []string{domain}
	})
	intermediate("intermediate-directory-constraint", "the intermediate may sign for another organization only", func(t *x509.Certificate) {
		t.ExtraExtensions = append(t.ExtraExtensions, directoryConstraint("Somebody"))
	})
	w.weakIntermediate(refuse)
	w.searchLimit()

	noDepth := own("", func(t *x509.Certificate) { t.MaxPathLen, t.MaxPathLenZero = 0, true })
	deep := must(noDepth.NewIntermediate(valid("Vector Server CA 1D")))
	branch("intermediate-path-length", "an intermediate signs another one, which it may not", deep, deep.Cert, noDepth.Cert)

	refuse("intermediate-missing", "the intermediate is not served", w.leaf.Cert, w.goodStaples)
	sibling := must(w.root.NewIntermediate(valid("Vector Server CA 1B")))
	refuse("intermediate-other-key", "the intermediate has the right name and another key", w.leaf.Cert, w.goodStaples, sibling.Cert)
	selfSigned := must((&pki.Authority{Cert: w.leaf.Cert, Key: w.leafKey}).Issue(
		&x509.Certificate{Subject: w.leaf.Cert.Subject, NotBefore: w.leaf.Cert.NotBefore, NotAfter: w.leaf.Cert.NotAfter}, w.leafKey.Public()))
	refuse("signer-self-signed", "the signer signed itself", selfSigned, w.goodStaples)
	w.chain("signer-untrusted", "signer-is-root", "the signer itself is what is pinned", vector{roots: w.pem("signer-as-root", selfSigned)}, selfSigned)
	w.chain("signer-untrusted", "signer-is-root-with-others", "the signer itself is what is pinned, and others are served", vector{roots: "pki/signer-as-root.pem"}, selfSigned, inter)
	w.chain("signer-name", "chain-signer-not-first", "the signer is not the first certificate", vector{}, inter, w.leaf.Cert)

	many := []*x509.Certificate{w.leaf.Cert}
	for range 10 {
		many = append(many, inter)
	}
	w.chain("signer-untrusted", "chain-too-long", "eleven certificates are served", vector{}, many...)
	raw := func(name, comment, text string) {
		w.chainFile("signer-untrusted", name, comment, vector{chain: w.file(name+".pem", []byte(text))})
	}
	good := string(must(os.ReadFile(w.goodChain)))
	raw("chain-empty", "an empty answer", "")
	raw("chain-html", "an error page in its place", "<html><body>404 - Not Found</body></html>\n")
	raw("chain-broken", "the signer is cut off", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"+good)
	raw("chain-key-block", "the blocks are no certificates", strings.ReplaceAll(good, "CERTIFICATE", "PUBLIC KEY"))
}

// skewedChains are valid from a minute ahead on, as far as clock_skew reaches.
func (w *world) skewedChains() {
	soon := func(t *x509.Certificate) { t.NotBefore = now.Add(time.Minute) }
	leaf := w.signer(w.inter, region, domain, soon).Cert
	v := vector{staples: w.staplesFor("signer-valid-soon", leaf)}
	w.chain("granted", "signer-valid-soon", "the signer is valid from 60 seconds on", v, leaf, w.inter.Cert)
	v.config, v.chain = []string{"[keys]", `clock_skew = "0s"`}, "pki/signer-valid-soon.pem"
	w.chainFile("signer-untrusted", "signer-valid-soon-without-skew", "the signer is valid from 60 seconds on, and no skew is allowed", v)
	o := valid("Vector Server CA 1C")
	o.Change = soon
	inter := must(w.root.NewIntermediate(o))
	w.branch("granted", "intermediate-valid-soon", "the intermediate is valid from 60 seconds on", inter, nil)
}

// branch is a signer under an intermediate of the root.
func (w *world) branch(expect, name, comment string, inter *pki.Authority, change func(*x509.Certificate)) {
	leaf := w.signer(inter, region, domain, change).Cert
	staples := []servedStaple{w.staple(name+"-leaf", leaf, inter, current()), w.goodOrOwn(name, inter.Cert)}
	w.chain(expect, name, comment, vector{staples: staples}, leaf, inter.Cert)
}

func (w *world) signerSANs() {
	want := pki.SignerName(region, domain)
	for name, names := range map[string][]string{"several": {"a.example.com", want}, "upper-case": {strings.ToUpper(want)}, "wildcard": {"*." + region + "." + domain}} {
		name = "signer-san-" + name
		leaf := w.signer(w.inter, region, domain, func(t *x509.Certificate) { t.DNSNames = names }).Cert
		w.chain("granted", name, "the SAN holds the name", vector{staples: w.staplesFor(name, leaf)}, leaf, w.inter.Cert)
	}
}

// usages are extended key usages and name constraints that allow a signer.
func (w *world) usages() {
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	leaf := w.signer(w.inter, region, domain, func(t *x509.Certificate) { t.ExtKeyUsage = server }).Cert
	w.chain("granted", "signer-eku-several", "serverAuth is one of two extended key usages", vector{staples: w.staplesFor("signer-eku-several", leaf)}, leaf, w.inter.Cert)
	for name, change := range map[string]func(*x509.Certificate){
		"eku-several":    func(t *x509.Certificate) { t.ExtKeyUsage = server },
		"permits-domain": func(t *x509.Certificate) { t.PermittedDNSDomains = []string{domain} },
		"excludes-other": func(t *x509.Certificate) { t.ExcludedDNSDomains = []string{"example.com"} },
	} {
		o := valid("Vector Server CA 1C")
		o.Change = change
		w.branch("granted", "intermediate-"+name, "the intermediate is limited, and the signer within the limits", must(w.root.NewIntermediate(o)), nil)
	}
	o := valid("Vector Server CA 1C")
	o.Change = func(t *x509.Certificate) { t.PermittedDNSDomains = []string{domain} }
	w.branch("granted", "intermediate-cn-permitted", "the intermediate may sign for this domain, and the name is in the common name only", must(w.root.NewIntermediate(o)), func(t *x509.Certificate) { t.DNSNames = nil })
}

// directoryConstraint permits names of one organization. It is not critical.
func directoryConstraint(organization string) pkix.Extension {
	type subtree struct{ Base asn1.RawValue }
	rdns := must(asn1.Marshal(pkix.Name{Organization: []string{organization}}.ToRDNSequence()))
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Value: must(asn1.Marshal(struct {
		Permitted []subtree `asn1:"tag:0"`
	}{[]subtree{{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: rdns}}}}))}
}

func (w *world) weakIntermediate(refuse func(name, comment string, leaf *x509.Certificate, staples []servedStaple, rest ...*x509.Certificate)) {
	o := valid("Vector Server CA 1C")
	o.Key = weakKey()
	inter := must(w.root.NewIntermediate(o))
	leaf := w.signer(inter, region, domain, nil).Cert
	refuse("intermediate-rsa1024", "the intermediate has an RSA key of 1024 bits", leaf,
		[]servedStaple{w.staple("intermediate-rsa1024-leaf", leaf, inter, current()), w.goodOrOwn("intermediate-rsa1024", inter.Cert)}, inter.Cert)
}

// searchLimit is a chain in which many certificates vouch for each other.
func (w *world) searchLimit() {
	chain := []*x509.Certificate{w.leaf.Cert}
	for i := range 9 {
		o := valid("")
		o.Change = func(t *x509.Certificate) { t.DNSNames = []string{string(rune('a'+i)) + ".example.com"} }
		chain = append(chain, must(w.inter.CrossSign(w.inter, o)))
	}
	w.chain("signer-search", "chain-search-limit", "nine certificates of the intermediate vouch for each other", vector{}, chain...)
}

// goodOrOwn returns a good staple for an intermediate of the root.
func (w *world) goodOrOwn(name string, cert *x509.Certificate) servedStaple {
	return w.staple(name+"-intermediate", cert, w.root, current())
}
