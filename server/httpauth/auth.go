package httpauth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// Headers of /v1/auth beside those of the contract.
const (
	TierHeader   = "X-Sluice-Tier"      // of a trusted caller: the key's tier
	CostHeader   = "X-Sluice-Cost"      // of a trusted caller: units that the request takes
	LeaseHeader  = "X-RateLimit-Lease"  // of the answer: the run's lease
	BodyHeader   = "X-RateLimit-Body"   // of a mirrored denial: its body, on one line
	StatusHeader = "X-RateLimit-Status" // of a mirrored denial: its status
)

// defaultTTL is how long a lease lives if the caller does not say.
const defaultTTL = 30 * time.Second

// asked is what a request of /v1/auth comes to.
type asked struct {
	key, tier  string
	cost       *uint32
	lease      bool
	ttl        time.Duration
	denyStatus int // with which denials arrive, 0: their own
}

// auth decides the request that the headers describe.
func (s *Server) auth(w http.ResponseWriter, r *http.Request) {
	a, err := s.read(r)
	if err != nil {
		a.deny(w, contract.Error{Code: contract.InvalidRequest, Message: err.Error()})
		return
	}
	if a.key == "" {
		a.deny(w, contract.Error{Code: contract.InvalidAPIKey})
		return
	}
	if a.lease {
		s.authRun(w, r, a)
		return
	}
	resp, err := s.Limiter.Check(r.Context(), &sluicev1.CheckRequest{Key: a.key, Tier: a.tier, Cost: a.cost, Explain: s.Fields})
	if err != nil {
		s.fail(w, a, err)
		return
	}
	d := resp.GetDecision()
	s.tell(w, d)
	if !d.GetAllowed() {
		a.refuse(w, d.GetReason())
		return
	}
	w.WriteHeader(http.StatusOK)
}

// authRun lets a run in: it takes a slot and what the request costs, both or neither.
func (s *Server) authRun(w http.ResponseWriter, r *http.Request, a *asked) {
	cost := uint32(1)
	if a.cost != nil {
		cost = *a.cost
	}
	resp, err := s.Limiter.Acquire(r.Context(), &sluicev1.AcquireRequest{
		Key: a.key, Tier: a.tier, RunId: rand.Text(), TtlMs: uint32(a.ttl / time.Millisecond), RequestCost: &cost,
	})
	if err != nil {
		s.fail(w, a, err)
		return
	}
	s.tell(w, resp.GetDecision())
	if !resp.GetGranted() {
		if resp.RetryAfterMs != nil {
			contract.SetRetryAfter(w.Header(), time.Duration(resp.GetRetryAfterMs())*time.Millisecond)
		}
		a.refuse(w, resp.GetReason())
		return
	}
	w.Header().Set(LeaseHeader, resp.GetLeaseId())
	w.WriteHeader(http.StatusOK)
}

// endLease ends a run. Ending it again is no error.
func (s *Server) endLease(w http.ResponseWriter, r *http.Request) {
	if _, err := s.Limiter.Release(r.Context(), &sluicev1.ReleaseRequest{LeaseId: r.PathValue("id")}); err != nil {
		contract.WriteError(w, s.failure(w, err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// read reads what the headers and the query ask. The error is one line for the caller; beside it
// is what could be read.
func (s *Server) read(r *http.Request) (*asked, error) {
	a := &asked{key: shownKey(r.Header), ttl: defaultTTL}
	if err := a.readQuery(r.URL.Query()); err != nil {
		return a, err
	}
	if s.trusted(r) {
		a.tier = r.Header.Get(TierHeader)
		if cost := r.Header.Get(CostHeader); cost != "" {
			n, err := strconv.ParseUint(cost, 10, 32)
			if err != nil {
				return a, fmt.Errorf("%s: must be a whole number", CostHeader)
			}
			units := uint32(n)
			a.cost = &units
		}
	}
	return a, nil
}

// shownKey returns the key that the headers show, "" if they show none that counts.
func shownKey(h http.Header) string {
	return contract.APIKey(joined(h, "Authorization"), joined(h, "X-Api-Key"))
}

// joined returns the headers of a name as one, by which a key that comes twice is none. _ is as good as
// - in a name: behind CGI and its like both are one, and the API might take the one that was not counted.
func joined(h http.Header, name string) string {
	var all []string
	for n, values := range h {
		if strings.EqualFold(strings.ReplaceAll(n, "_", "-"), name) {
			all = append(all, values...)
		}
	}
	return strings.Join(all, ",")
}

// readQuery reads the query, which is the gateway's: its client's is in X-Forwarded-Uri.
func (a *asked) readQuery(q url.Values) error {
	switch v := q.Get("deny_status"); v {
	case "":
	case "401", "403":
		a.denyStatus, _ = strconv.Atoi(v)
	default:
		return errors.New("deny_status: must be 401 or 403")
	}
	switch q.Get("lease") {
	case "", "0":
	case "1":
		a.lease = true
	default:
		return errors.New("lease: must be 0 or 1")
	}
	if v := q.Get("ttl"); v != "" {
		ttl, err := time.ParseDuration(v)
		if err != nil || ttl < time.Second || ttl > 10*time.Minute {
			return errors.New("ttl: must be a duration from 1s to 10m")
		}
		a.ttl = ttl
	}
	return nil
}

// refuse answers a denial.
func (a *asked) refuse(w http.ResponseWriter, reason sluicev1.Reason) {
	e := contract.Denial(reason.String())
	if e.Code == contract.ServiceUnavailable {
		contract.SetRetryAfter(w.Header(), contract.UnavailableRetryAfter(mathrand.Float64()))
	}
	a.deny(w, e)
}

// fail answers a call that failed. What could not be decided arrives as it is, in every mode: the
// gateway has a policy for that.
func (s *Server) fail(w http.ResponseWriter, a *asked, err error) {
	e := s.failure(w, err)
	if e.Code == contract.ServiceUnavailable || e.Code == contract.InternalError {
		contract.WriteError(w, e)
		return
	}
	a.deny(w, e)
}

// deny answers with e. If the caller can pass on only one status, it gets that one, and what its
// client is to see in headers.
func (a *asked) deny(w http.ResponseWriter, e contract.Error) {
	if a.denyStatus == 0 {
		contract.WriteError(w, e)
		return
	}
	w.Header().Set(BodyHeader, string(bytes.TrimSpace(e.Body().Encode())))
	w.Header().Set(StatusHeader, strconv.Itoa(e.Status()))
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(a.denyStatus)
}
