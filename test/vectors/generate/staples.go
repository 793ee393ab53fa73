package main

import (
	"crypto"
	"crypto/rand"
	_ "crypto/sha1"
	_ "crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/eic-agent/eic-agent/internal/emulator/pki"
)

// stapleVectors are the usual record and chain under staples that differ.
func (w *world) stapleVectors() {
	w.goodStapleVectors()
	w.badStapleVectors()
	w.responderVectors()
}

func (w *world) stapled(expect, name, comment string, staples ...servedStaple) {
	v := vector{name: name, comment: comment, expect: expect, staples: staples, body: w.good(w.keys.ed)}
	if staples == nil {
		v.staples = []servedStaple{}
	}
	if expect == "granted" {
		v.output = []string{w.keys.ed}
	}
	w.write(v)
}

// leafStaple writes a staple about the signer by its issuer.
func (w *world) leafStaple(name string, change func(*pki.StapleOptions)) servedStaple {
	o := current()
	change(&o)
	return w.staple(name, w.leaf.Cert, w.inter, o)
}

func (s servedStaple) as(name string) servedStaple { return servedStaple{name, s.file} }

func (w *world) goodStapleVectors() {
	leaf, inter := w.goodStaples[0], w.goodStaples[1]
	sha256Name := func(c *x509.Certificate) string { return must(pki.StapleName(c, crypto.SHA256)) }
	w.stapled("granted", "staple-ok", "the usual staples", leaf, inter)
	w.stapled("granted", "staple-sha256-names", "the staples have SHA-256 names", leaf.as(sha256Name(w.leaf.Cert)), inter.as(sha256Name(w.inter.Cert)))
	w.stapled("granted", "staple-any-names", "the staples have any names", leaf.as("one"), inter.as("two.der"))
	w.stapled("granted", "staple-names-swapped", "each staple has the name of the other", leaf.as(inter.name), inter.as(leaf.name))

	granted := func(name, comment string, change func(*pki.StapleOptions)) {
		w.stapled("granted", name, comment, w.leafStaple(name, change), inter)
	}
	granted("staple-sha256-certid", "the CertID has SHA-256 hashes", func(o *pki.StapleOptions) { o.Hash = crypto.SHA256 })
	granted("staple-from-now", "the staple holds from now on", func(o *pki.StapleOptions) { o.ThisUpdate = now })
	granted("staple-from-soon", "the staple holds from 60 seconds on", func(o *pki.StapleOptions) { o.ThisUpdate = now.Add(time.Minute) })
	granted("staple-until-now", "the staple holds until now", func(o *pki.StapleOptions) { o.NextUpdate = now })

	stranger := must(pki.NewRoot(valid("Stranger CA")))
	garbage := w.rawStaple("garbage", stranger.Cert, []byte("garbage!"))
	foreign := w.staple("foreign", stranger.Cert, stranger, current())
	w.stapled("granted", "staple-beside-garbage", "other staples are garbage or about other certificates", garbage.as("0"), foreign.as("1"), leaf, inter)
	stale := w.leafStaple("stale-beside", func(o *pki.StapleOptions) { o.NextUpdate = now.Add(-time.Minute) })
	w.stapled("granted", "staple-beside-stale", "a stale staple about the same certificate is served as well", stale.as("0"), leaf, inter)
	text := base64.StdEncoding.EncodeToString(must(w.inter.Staple(w.leaf.Cert, current())))
	wrapped := w.rawStaple("wrapped", w.leaf.Cert, []byte(text[:64]+"\n"+text[64:128]+"\r\n"+text[128:]))
	w.stapled("granted", "staple-wrapped", "the base64 is wrapped into lines", wrapped, inter)
}

func (w *world) badStapleVectors() {
	leaf, inter := w.goodStaples[0], w.goodStaples[1]
	w.stapled("staple-missing", "staple-none", "no staple is served")
	w.stapled("staple-missing", "staple-leaf-missing", "the signer has no staple", inter)
	w.stapled("staple-missing", "staple-intermediate-missing", "the intermediate has no staple", leaf)

	refuse := func(reason, name, comment string, change func(*pki.StapleOptions)) {
		w.stapled(reason, name, comment, w.leafStaple(name, change), inter)
	}
	refuse("signer-revoked", "staple-revoked", "the signer is revoked", func(o *pki.StapleOptions) { o.Status = ocsp.Revoked })
	refuse("staple-untrusted", "staple-unknown", "the issuer does not know the signer", func(o *pki.StapleOptions) { o.Status = ocsp.Unknown })
	refuse("staple-stale", "staple-stale-by-a-second", "the staple held until a second ago", func(o *pki.StapleOptions) { o.NextUpdate = now.Add(-time.Second) })
	refuse("staple-stale", "staple-stale-by-390-days", "the staple held until 390 days ago", func(o *pki.StapleOptions) {
		o.ThisUpdate, o.NextUpdate = now.AddDate(0, 0, -397), now.AddDate(0, 0, -390)
	})
	refuse("staple-stale", "staple-from-the-future", "the staple holds from 61 seconds on", func(o *pki.StapleOptions) { o.ThisUpdate = now.Add(61 * time.Second) })
	w.write(vector{name: "staple-from-soon-without-skew", comment: "the staple holds from the next second on, and no skew is allowed", expect: "staple-stale", body: w.good(w.keys.ed),
		config: []string{"[keys]", `clock_skew = "0s"`}, staples: []servedStaple{w.leafStaple("from-next-second", func(o *pki.StapleOptions) { o.ThisUpdate = now.Add(time.Second) }), inter}})
	refuse("staple-stale", "staple-without-next-update", "the staple does not say until when it holds", func(o *pki.StapleOptions) { o.NextUpdate = time.Time{} })

	revoked := current()
	revoked.Status = ocsp.Revoked
	interRevoked := w.staple("intermediate-revoked", w.inter.Cert, w.root, revoked)
	w.stapled("signer-revoked", "staple-intermediate-revoked", "the intermediate is revoked", leaf, interRevoked)
	leafRevoked := w.leafStaple("leaf-revoked", func(o *pki.StapleOptions) { o.Status = ocsp.Revoked })
	w.stapled("signer-revoked", "staple-revoked-then-good", "one staple says revoked, another good", leafRevoked.as(leaf.name), leaf.as("other"), inter)
	w.stapled("signer-revoked", "staple-revoked-and-good", "of two staples with unusual names one says revoked, the other good", leafRevoked.as("a"), leaf.as("b"), inter)
	w.stapled("signer-revoked", "staple-good-and-revoked", "the same, the other way round", leafRevoked.as("b"), leaf.as("a"), inter)
	w.stapled("granted", "staple-stale-revocation", "a staple that no longer holds says revoked, another says good",
		w.leafStaple("stale-revocation", func(o *pki.StapleOptions) { o.Status, o.NextUpdate = ocsp.Revoked, now.Add(-time.Minute) }).as("0"), leaf, inter)
	interStale := current()
	interStale.NextUpdate = now.Add(-time.Second)
	w.stapled("staple-stale", "staple-intermediate-stale", "the intermediate's staple no longer holds", leaf, w.staple("intermediate-stale", w.inter.Cert, w.root, interStale))

	other := w.signer(w.inter, "us-west-2", domain, nil)
	w.stapled("staple-missing", "staple-of-other-serial", "the staple is about another certificate of the issuer",
		w.staple("other-serial", other.Cert, w.inter, current()).as(leaf.name), inter)
	sibling := must(w.root.NewIntermediate(valid("Vector Server CA 1C")))
	sha256ID := func(o *pki.StapleOptions) { o.Hash = crypto.SHA256 }
	for name, change := range map[string]func(*pki.StapleOptions){"staple-of-other-issuer": func(*pki.StapleOptions) {}, "staple-of-other-issuer-sha256": sha256ID} {
		refuse("staple-missing", name, "the staple names the serial under another issuer", func(o *pki.StapleOptions) {
			change(o)
			o.Issuer = sibling.Cert
		})
	}
	renamed := *w.inter.Cert
	renamed.RawSubject = sibling.Cert.RawSubject
	refuse("staple-missing", "staple-of-other-issuer-name", "the staple names the issuer's key and another name", func(o *pki.StapleOptions) { o.Issuer = &renamed })
	rekeyed := *w.inter.Cert
	rekeyed.RawSubjectPublicKeyInfo = sibling.Cert.RawSubjectPublicKeyInfo
	refuse("staple-missing", "staple-of-other-issuer-key", "the staple names the issuer's name and another key", func(o *pki.StapleOptions) { o.Issuer = &rekeyed })

	raw := func(expect, name, comment string, text []byte) {
		w.stapled(expect, name, comment, w.rawStaple(name, w.leaf.Cert, text), inter)
	}
	der := must(w.inter.Staple(w.leaf.Cert, current()))
	encode := func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) }
	flipped := append([]byte{}, der...)
	flipped[len(flipped)-1] ^= 1
	revokedDER := must(w.inter.Staple(w.leaf.Cert, revoked))
	otherDER := must(w.inter.Staple(other.Cert, current()))
	siblingOptions := current()
	siblingOptions.Issuer = sibling.Cert
	siblingDER := must(w.inter.Staple(w.leaf.Cert, siblingOptions))
	raw("granted", "staple-with-others", "the response is about another certificate too", encode(combine(w.inter, otherDER, der)))
	sha256Of := func(status int) []byte {
		o := current()
		o.Hash, o.Status = crypto.SHA256, status
		return must(w.inter.Staple(w.leaf.Cert, o))
	}
	raw("granted", "staple-two-certids", "one response names the certificate by SHA-1 and by SHA-256", encode(combine(w.inter, der, sha256Of(ocsp.Good))))
	raw("signer-revoked", "staple-two-certids-last-revoked", "by SHA-1 the certificate is good, by SHA-256 it is revoked", encode(combine(w.inter, der, sha256Of(ocsp.Revoked))))
	raw("signer-revoked", "staple-two-certids-first-revoked", "by SHA-1 the certificate is revoked, by SHA-256 it is good", encode(combine(w.inter, revokedDER, sha256Of(ocsp.Good))))
	raw("staple-untrusted", "staple-critical-extension", "the response has a critical extension that nobody knows", encode(extended(w.inter, der, true)))
	raw("granted", "staple-extension", "the response has an extension that nobody knows", encode(extended(w.inter, der, false)))
	raw("staple-missing", "staple-good-then-revoked-in-one", "one response says good and revoked", encode(combine(w.inter, der, revokedDER)))
	raw("staple-missing", "staple-twice-in-one", "one response says good twice", encode(combine(w.inter, der, der)))
	raw("staple-missing", "staple-other-issuer-first-in-one", "one response has the serial under another issuer first", encode(combine(w.inter, siblingDER, der)))
	raw("staple-missing", "staple-other-issuer-last-in-one", "one response has the serial under another issuer last", encode(combine(w.inter, der, siblingDER)))
	raw("staple-untrusted", "staple-bit-flipped", "one bit of the signature is flipped", encode(flipped))
	raw("staple-untrusted", "staple-trailing-data", "a byte follows the response", encode(append(append([]byte{}, der...), 0)))
	raw("staple-untrusted", "staple-sha1", "the issuer signed with SHA-1", encode(resignSHA1(der, w.inter)))
	raw("staple-missing", "staple-cut-off", "the response is cut off", encode(der[:len(der)-1]))
	raw("staple-missing", "staple-try-later", "the responder said to try later", encode(ocsp.TryLaterErrorResponse))
	raw("staple-missing", "staple-not-base64", "the staple is DER without base64", der)
	raw("staple-missing", "staple-empty", "the staple is empty", nil)
	raw("staple-missing", "staple-html", "an error page in its place", []byte("<html><body>404 - Not Found</body></html>"))
}

// OCSPResponse and BasicOCSPResponse of RFC 6960, section 4.2.1, as far as they
// are taken apart here.
type (
	ocspResponse struct {
		Status asn1.Enumerated
		Body   struct {
			Type  asn1.ObjectIdentifier
			Basic []byte
		} `asn1:"explicit,tag:0"`
	}
	ocspBasic struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	ocspData struct {
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []asn1.RawValue
		Extensions  []pkix.Extension `asn1:"explicit,tag:1,optional,omitempty"`
	}
)

func takeApart(der []byte) (outer ocspResponse, basic ocspBasic) {
	must(asn1.Unmarshal(der, &outer))
	must(asn1.Unmarshal(outer.Body.Basic, &basic))
	return outer, basic
}

// sign signs the data of a response with an ECDSA key and puts it together.
func (basic ocspBasic) sign(outer ocspResponse, by *pki.Authority, hash crypto.Hash, algorithm asn1.ObjectIdentifier) []byte {
	h := hash.New()
	h.Write(basic.Data.FullBytes)
	basic.Algorithm.Algorithm = algorithm
	basic.Signature.Bytes = must(by.Key.Sign(rand.Reader, h.Sum(nil), hash))
	basic.Signature.BitLength = 8 * len(basic.Signature.Bytes)
	outer.Body.Basic = must(asn1.Marshal(basic))
	return must(asn1.Marshal(outer))
}

// resignSHA1 signs a response anew over a SHA-1 digest.
func resignSHA1(der []byte, by *pki.Authority) []byte {
	outer, basic := takeApart(der)
	return basic.sign(outer, by, crypto.SHA1, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1})
}

// combine makes one response of the answers of several.
func combine(by *pki.Authority, ders ...[]byte) []byte {
	outer, basic := takeApart(ders[0])
	var all ocspData
	for _, der := range ders {
		_, one := takeApart(der)
		var data ocspData
		must(asn1.Unmarshal(one.Data.FullBytes, &data))
		all.ResponderID, all.ProducedAt = data.ResponderID, data.ProducedAt
		all.Responses = append(all.Responses, data.Responses...)
	}
	basic.Data = asn1.RawValue{FullBytes: must(asn1.Marshal(all))}
	return basic.sign(outer, by, crypto.SHA256, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
}

// extended adds an extension to a response.
func extended(by *pki.Authority, der []byte, critical bool) []byte {
	outer, basic := takeApart(der)
	var data ocspData
	must(asn1.Unmarshal(basic.Data.FullBytes, &data))
	data.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: critical, Value: []byte{5, 0}}}
	basic.Data = asn1.RawValue{FullBytes: must(asn1.Marshal(data))}
	return basic.sign(outer, by, crypto.SHA256, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
}

// responderVectors differ in who signed the signer's staple.
func (w *world) responderVectors() {
	inter := w.goodStaples[1]
	by := func(expect, name, comment string, responder *pki.Authority) {
		s := w.leafStaple(name, func(o *pki.StapleOptions) { o.Responder = responder })
		w.stapled(expect, name, comment, s, inter)
	}
	responder := func(issuer *pki.Authority, change func(*x509.Certificate)) *pki.Authority {
		o := valid("Vector OCSP Responder")
		o.Change = change
		return must(issuer.NewResponder(o))
	}
	by("granted", "responder-delegated", "a responder that the issuer delegated signed", responder(w.inter, nil))
	by("granted", "responder-issuer-enclosed", "the issuer signed and its certificate is enclosed", w.inter)
	by("staple-untrusted", "responder-without-usage", "the responder may not sign OCSP responses", responder(w.inter, func(t *x509.Certificate) { t.ExtKeyUsage = nil }))
	by("staple-untrusted", "responder-any-usage", "the responder is for any use, which is not enough", responder(w.inter, func(t *x509.Certificate) {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	}))
	by("staple-untrusted", "responder-sha1", "the issuer signed the responder's certificate with SHA-1", responder(w.inter, func(t *x509.Certificate) {
		t.SignatureAlgorithm = x509.ECDSAWithSHA1
	}))
	by("staple-untrusted", "responder-critical-extension", "the responder has a critical extension that nobody knows", responder(w.inter, func(t *x509.Certificate) {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
	}))
	by("staple-untrusted", "responder-is-signer", "the signer answers for itself", w.leaf)
	by("staple-untrusted", "responder-expired", "the responder expired a second ago", responder(w.inter, func(t *x509.Certificate) { t.NotAfter = now.Add(-time.Second) }))
	by("staple-untrusted", "responder-not-yet-valid", "the responder is valid from 61 seconds on", responder(w.inter, func(t *x509.Certificate) { t.NotBefore = now.Add(61 * time.Second) }))
	by("granted", "responder-valid-soon", "the responder is valid from 60 seconds on", responder(w.inter, func(t *x509.Certificate) { t.NotBefore = now.Add(time.Minute) }))
	by("staple-untrusted", "responder-key-usage", "the responder's key may not sign", responder(w.inter, func(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageKeyEncipherment }))
	w.selfAnswer()
	by("staple-untrusted", "responder-of-root", "the responder is the root's, not the issuer's", responder(w.root, nil))
	by("staple-untrusted", "responder-root", "the root signed instead of the issuer", w.root)
	stranger := must(pki.NewRoot(valid("Vector Server CA 1B")))
	by("staple-untrusted", "responder-stranger", "a stranger of the issuer's name signed", stranger)
	by("staple-untrusted", "responder-of-stranger", "a stranger of the issuer's name delegated", responder(stranger, nil))
	renamed := *w.root.Cert
	renamed.PublicKey = w.inter.Key.Public()
	renamedIssuer := &pki.Authority{Cert: &renamed, Key: w.inter.Key}
	by("staple-untrusted", "responder-other-issuer-name", "the issuer's key delegated under another name", responder(renamedIssuer, nil))
	good := responder(w.inter, nil)
	by("staple-untrusted", "responder-wrong-key", "the enclosed responder did not sign", &pki.Authority{Cert: good.Cert, Key: stranger.Key})

	for name, s := range map[string]*pki.Authority{"staple-forged": stranger, "staple-signed-by-root": w.root} {
		o := current()
		o.Issuer = w.inter.Cert
		w.stapled("staple-untrusted", name, "the staple is signed by another than the issuer, with no certificate enclosed", w.staple(name, w.leaf.Cert, s, o), inter)
	}
}

// selfAnswer is a signer that may sign OCSP responses, and says of itself that it is
// good.
func (w *world) selfAnswer() {
	leaf := w.signer(w.inter, region, domain, func(t *x509.Certificate) { t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) })
	o := current()
	o.Responder = leaf
	v := vector{staples: []servedStaple{w.staple("responder-self", leaf.Cert, w.inter, o), w.goodStaples[1]}}
	w.chain("staple-untrusted", "responder-self", "the signer may sign OCSP responses, and answers for itself", v, leaf.Cert, w.inter.Cert)
}
