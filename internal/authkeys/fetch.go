package authkeys

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/eic-agent/eic-agent/internal/imds"
	"github.com/eic-agent/eic-agent/internal/keycache"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/signer"
)

const (
	// maxStaples bounds how many staples are read of a listing; AWS has three.
	maxStaples = 32
	maxListing = 64 << 10
	// maxStapleName is twice the longest name seen, the SHA-256 in hex.
	maxStapleName = 128
)

// A request is for one entry of the metadata service.
type request struct {
	path  string
	limit int // the most bytes that are read
}

// fetchSigner asks for the signing certificate and proves it. served is what was
// proved.
func (r *run) fetchSigner(ctx context.Context, roots *x509.CertPool) (served keycache.Signer, by *signer.Signer, err error) {
	served, err = r.fetchChain(ctx)
	if err != nil {
		return keycache.Signer{}, nil, err
	}
	chain, err := signer.Verify(served.Chain, r.trust(roots), served.Region, served.Domain, r.now())
	if err != nil {
		return keycache.Signer{}, nil, err
	}
	served.Staples, by, err = r.proveChain(ctx, chain)
	if err != nil {
		return keycache.Signer{}, nil, err
	}
	return served, by, nil
}

// fetchChain asks for the signing chain and for what its name depends on. Where
// the id of this instance is not known it is asked for as well. There are no
// staples yet, and nothing is proved.
func (r *run) fetchChain(ctx context.Context) (served keycache.Signer, err error) {
	requests := []request{{chainPath, maxChain}, {"placement/region", maxFact}, {"services/domain", maxFact}}
	if r.terms.Instance == "" {
		requests = append(requests, request{instanceIDPath, maxFact})
	}
	answers, err := r.getAll(ctx, requests)
	if err != nil {
		return keycache.Signer{}, err
	}
	fact := func(i int) string { return strings.TrimSpace(string(answers[i])) }
	served = keycache.Signer{Chain: answers[0], Region: fact(1), Domain: fact(2)}
	if r.terms.Instance == "" {
		if served.InstanceID, err = servedID(fact(3)); err != nil {
			return keycache.Signer{}, err
		}
	}
	return served, nil
}

// proveChain fetches staples until the chain is proved. Those under the usual
// names are tried first, which spares the listing; where they do not prove the
// chain, every listed one is read. staples are those that were read, also with an
// error.
func (r *run) proveChain(ctx context.Context, chain *signer.Chain) (staples [][]byte, by *signer.Signer, err error) {
	usual := chain.StapleNames()
	staples, fetchErr := r.getStaples(ctx, usual)
	if by, err := chain.Prove(staples, r.now()); err == nil {
		return staples, by, nil
	}
	listing, err := r.Metadata.Get(ctx, staplePath, maxListing)
	if err != nil && !errors.Is(err, imds.ErrNotFound) {
		return staples, nil, err
	}
	more, moreErr := r.getStaples(ctx, listed(listing, usual))
	staples = append(staples, more...)
	by, err = chain.Prove(staples, r.now())
	if reason.Of(err) == reason.StapleMissing {
		// It may be among those that failed.
		err = cmp.Or(fetchErr, moreErr, err)
	}
	return staples, by, err
}

// listed returns the staple names of a listing without those that were tried, at
// most maxStaples. A name that is no plain file name is left out.
func listed(listing []byte, tried []string) []string {
	var names []string
	for name := range strings.FieldsSeq(string(listing)) {
		plain := strings.Trim(name, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.") == "" &&
			strings.Trim(name, ".") != ""
		if plain && len(name) <= maxStapleName && len(names) < maxStaples && !slices.Contains(names, name) && !slices.Contains(tried, name) {
			names = append(names, name)
		}
	}
	return names
}

// getStaples returns the staples of those names that the service has, and the
// first error of one that failed, which does not affect others: one that is not
// answered leaves time for what may prove the chain without it.
func (r *run) getStaples(ctx context.Context, names []string) (staples [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Config.Patience()*3/2)
	defer cancel()
	requests := make([]request, len(names))
	for i, name := range names {
		requests[i] = request{staplePath + name, maxStaple}
	}
	bodies := r.getEach(ctx, requests, func(_ request, failure error) {
		if err == nil && !errors.Is(failure, imds.ErrNotFound) {
			err = failure
		}
	})
	return slices.DeleteFunc(bodies, func(b []byte) bool { return b == nil }), err
}

// getAll sends all requests at once. The first error ends the others.
func (r *run) getAll(ctx context.Context, requests []request) ([][]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first error
	bodies := r.getEach(ctx, requests, func(q request, failure error) {
		if first == nil {
			first = missing(q.path, failure)
		}
		cancel()
	})
	if first != nil {
		return nil, first
	}
	return bodies, nil
}

// missing returns the error of an entry that has to be there.
func missing(path string, err error) error {
	if errors.Is(err, imds.ErrNotFound) {
		return reason.New(reason.IMDSError, fmt.Sprintf("the metadata service has no %q", path))
	}
	return err
}

// getEach sends all requests at once and returns the bodies, nil for one that
// failed. failed is called with each failure when it happens, one at a time.
func (r *run) getEach(ctx context.Context, requests []request, failed func(request, error)) [][]byte {
	bodies := make([][]byte, len(requests))
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i, q := range requests {
		wait.Go(func() {
			body, err := r.Metadata.Get(ctx, q.path, q.limit)
			if err == nil {
				bodies[i] = body
				return
			}
			mu.Lock()
			defer mu.Unlock()
			failed(q, err)
		})
	}
	wait.Wait()
	return bodies
}
