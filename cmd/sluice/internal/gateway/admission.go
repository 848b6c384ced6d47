package gateway

import (
	"cmp"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/contract"
	"github.com/overten/sluice/limiter/policy"
)

// A caller is whom a request counts for: an API key, or without one an address.
type caller struct {
	key     string // as the limiter counts it
	address bool
	named   string        // tier to name to the limiter; empty: the node's default
	tier    *limiter.Tier // nil: the policy does not know the key, and requires to
	status  policy.Status
	limit   uint32 // what the headers say as long as nothing was decided
}

// callerOf says whom a request counts for.
func (g *Gateway) callerOf(r *http.Request) caller {
	p := g.config.Policy
	key, ok := bearerKey(r.Header)
	if !ok {
		key = addressKey(clientAddress(r, g.config.TrustedProxies))
		tier := g.addresses.tier
		c := caller{key: key, address: true, named: tier.Name(), tier: tier, status: policy.Active, limit: tier.Limit()}
		// The policy requires no address to be known, but may block one.
		if res, _ := p.Resolve(key, c.named); res.Known { // no error: the tier was found in it
			c.status = res.Status
		}
		return c
	}
	res, _ := p.Resolve(key, "") // no error: a policy without a default tier requires known keys
	c := caller{key: key, tier: res.Tier, status: res.Status}
	if res.Known {
		c.named = res.Tier.Name()
	}
	c.limit = cmp.Or(c.tier, p.DefaultTier(), p.Tiers()[0]).Limit()
	return c
}

// staticRefusal returns why the request cannot pass, whatever the limiter says,
// or nil.
func (x *exchange) staticRefusal(route *Route) *contract.Error {
	r, c := x.request, x.caller
	clear := unambiguous(r.URL) && plainMethod(r.Method) && x.gateway.routes.alike(r)
	switch {
	case c.status == policy.Suspended:
		e, _ := httplimit.Denial(client.KeySuspended, 0)
		return &e
	case c.address && !(route.Public && clear):
		return &contract.Error{Code: contract.InvalidAPIKey}
	case c.status != policy.Active:
		return &contract.Error{Code: contract.InvalidAPIKey}
	case !clear:
		return &contract.Error{
			Code:    contract.InvalidRequest,
			Message: "The path has dot segments, escaped separators or parameters that hide them or its route, or the method is not in capitals. Please send both in their plain form.",
		}
	case strings.ContainsFunc(r.Header.Get("Upgrade"), unprintable):
		return &contract.Error{Code: contract.InvalidRequest, Message: "The Upgrade header names no protocol."}
	case len(route.Tiers) > 0 && !slices.Contains(route.Tiers, c.tier.Name()):
		return &contract.Error{Code: contract.Forbidden, Message: "The tier of this API key may not use this endpoint."}
	case c.tier.MaxBody() > 0 && r.ContentLength > c.tier.MaxBody():
		return &contract.Error{Code: contract.PayloadTooLarge}
	}
	return nil
}

// unprintable reports whether c is not of printable ASCII.
func unprintable(c rune) bool { return c < ' ' || c > '~' }

// An answer is what the limiter says of a request or of a run.
type answer struct {
	allowed    bool
	reason     client.Reason
	retryAfter time.Duration
	decision   client.Decision // of the windows; zero if there is none
	lease      *client.Lease   // of a run, or nil
}

// ask takes the request's one unit, and for a run its slot in the same step.
func (x *exchange) ask(run bool) (answer, error) {
	ctx, l, c := x.request.Context(), x.gateway.limiter, x.caller
	if !run {
		d, err := l.Check(ctx, client.CheckRequest{Key: c.key, Tier: c.named, Cost: client.Cost(1)})
		return answer{d.Allowed, d.Reason, d.RetryAfter, d, nil}, err
	}
	g, err := l.Acquire(ctx, client.AcquireRequest{
		Key: c.key, Tier: c.named, RequestCost: client.Cost(1),
		// Support finds the one by the other. A client may repeat its request ids, so
		// that alone would not name a run.
		RunID: x.id + "-" + rand.Text(),
	})
	return answer{g.Granted, g.Reason, g.RetryAfter, g.Decision, g.Lease}, err
}

// cannotCount reports whether a limiter that answered about an address does not
// take addresses: all keys must be listed, or it lacks their tier.
func cannotCount(a answer, err error) bool {
	if err == nil {
		return !a.allowed && a.reason == client.KeyUnknown
	}
	var e *client.Error
	return errors.As(err, &e) && e.Code == contract.InvalidRequest
}

// comparePolicies warns when the node decides by other limits than the gateway
// knows: then the gateway's idea of a key's tier is wrong too, and with it who may
// use which route and upload how much. A node that lost a key's history may halve
// its limit, which says nothing.
func (x *exchange) comparePolicies(d client.Decision, now time.Time) {
	t := x.caller.tier
	if t == nil || !d.Decided() || d.Exactness == client.Degraded || d.Limit == 0 {
		return
	}
	for _, w := range t.Windows() {
		if w.Limit == d.Limit {
			return
		}
	}
	if x.gateway.warnedPolicy.due(now) {
		x.gateway.log.Warn("the limiter decides by another policy than this gateway has: give both the same file",
			"tier", t.Name(), "limit", t.Limit(), "decided_limit", d.Limit, "request_id", x.id)
	}
}
