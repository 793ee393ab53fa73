package authkeys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

const (
	// maxStaples bounds how many staples are read; AWS serves three.
	maxStaples = 16
	// maxStapleName is twice the longest name seen, the SHA-256 in hex.
	maxStapleName = 128
)

// A request is for one entry of the metadata service.
type request struct {
	path  string
	limit int // the most bytes that are read
}

// fetchSigner asks for the signing certificate and proves it. Where the id of
// this instance is not known yet it is asked for as well.
func (r *run) fetchSigner(ctx context.Context, roots *x509.CertPool) (by *signer.Signer, id string, err error) {
	requests := []request{{chainPath, maxChain}, {"placement/region", maxFact}, {"services/domain", maxFact}}
	if r.terms.Instance == "" {
		requests = append(requests, request{"instance-id", maxFact})
	}
	answers, err := r.getAll(ctx, requests)
	if err != nil {
		return nil, "", err
	}
	fact := func(i int) string { return strings.TrimSpace(string(answers[i])) }
	if r.terms.Instance == "" {
		if id = fact(3); !instance.IsID(id) {
			return nil, "", reason.New(reason.IMDSError, fmt.Sprintf("the metadata service gives %.64q as instance-id, which is no instance id", id))
		}
	}
	trust := signer.Trust{Roots: roots, Domains: r.Config.Trust.Domains}
	chain, err := signer.Verify(answers[0], trust, fact(1), fact(2), r.terms.Now)
	if err != nil {
		return nil, "", err
	}
	by, err = r.proveChain(ctx, chain)
	return by, id, err
}

// proveChain fetches staples until the chain is proved. Those under the usual
// names are tried first, which spares the listing; where they do not prove the
// chain, every listed one is read.
func (r *run) proveChain(ctx context.Context, chain *signer.Chain) (*signer.Signer, error) {
	usual := chain.StapleNames()
	staples, err := r.getStaples(ctx, usual)
	if err != nil {
		return nil, err
	}
	if by, err := chain.Prove(staples, r.terms.Now); err == nil {
		return by, nil
	}
	listing, err := r.Metadata.Get(ctx, staplePath, maxStaples*maxStapleName)
	if err != nil && !errors.Is(err, imds.ErrNotFound) {
		return nil, err
	}
	others := slices.DeleteFunc(listed(listing), func(name string) bool { return slices.Contains(usual, name) })
	more, err := r.getStaples(ctx, others)
	if err != nil {
		return nil, err
	}
	return chain.Prove(append(staples, more...), r.terms.Now)
}

// listed returns the staple names of a listing, at most maxStaples. A name that
// is no plain file name is left out.
func listed(listing []byte) []string {
	var names []string
	for name := range strings.FieldsSeq(string(listing)) {
		plain := strings.Trim(name, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.") == "" &&
			strings.Trim(name, ".") != ""
		if plain && len(name) <= maxStapleName && len(names) < maxStaples {
			names = append(names, name)
		}
	}
	return names
}

// getStaples returns the staples of those names that the service has.
func (r *run) getStaples(ctx context.Context, names []string) ([][]byte, error) {
	requests := make([]request, len(names))
	for i, name := range names {
		requests[i] = request{staplePath + name, maxStaple}
	}
	answers, err := r.getAll(ctx, requests, imds.ErrNotFound)
	return slices.DeleteFunc(answers, func(a []byte) bool { return a == nil }), err
}

// getAll sends all requests at once. The answer to one whose error is among
// accepted is nil; any other error ends the whole.
func (r *run) getAll(ctx context.Context, requests []request, accepted ...error) ([][]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first error
	var once sync.Once
	fail := func(err error) {
		once.Do(func() { first = err })
		cancel()
	}
	answers := make([][]byte, len(requests))
	var wait sync.WaitGroup
	for i, q := range requests {
		wait.Go(func() {
			body, err := r.Metadata.Get(ctx, q.path, q.limit)
			switch {
			case err == nil:
				answers[i] = body
			case slices.ContainsFunc(accepted, func(a error) bool { return errors.Is(err, a) }):
			case errors.Is(err, imds.ErrNotFound):
				fail(reason.New(reason.IMDSError, fmt.Sprintf("the metadata service has no %q", q.path)))
			default:
				fail(err)
			}
		})
	}
	wait.Wait()
	if first != nil {
		return nil, first
	}
	return answers, nil
}
