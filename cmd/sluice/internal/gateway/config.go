package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/policy"
)

// LeaseHeader carries the id of a run's lease to the upstream, whose worker may
// renew and release it. It is removed from what clients send and receive.
const LeaseHeader = "X-RateLimit-Lease"

// Bounds of a Config.
const (
	minTimeout, maxTimeout = time.Millisecond, 10 * time.Second
	minCeiling, maxCeiling = 10 * time.Millisecond, 24 * time.Hour
	maxRoutes              = 1000
)

// A Config says how a gateway works. Begin with [DefaultConfig].
type Config struct {
	// Limiter is the node's address, host:port, or any target that grpc knows, as
	// dns:///sluice:7070. Fail and Timeout (1 ms to 10 s) are for calls of it. All
	// three are for whoever makes the limiter's client.
	Limiter string
	Fail    client.Policy
	Timeout time.Duration

	// Policy should be the node's own: from it the gateway knows a key's tier, what
	// the tier may upload, and what the headers say while nothing was decided.
	Policy *policy.Policy
	// Anonymous is for requests without a key.
	Anonymous Anonymous
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// SyncCeiling is how long the upstream may take to answer a request, until the
	// last byte: 10 ms to 24 h.
	SyncCeiling time.Duration
	// Routes are what is special, up to 1000. Any other request needs a key, is
	// open to all tiers and is no run.
	Routes []Route
}

// Anonymous says how requests without a key are limited, by client address.
type Anonymous struct {
	// Tier that an address counts under. The node must have it too.
	Tier string
}

// A Route says what is special about some requests.
type Route struct {
	// Pattern is that of net/http.ServeMux without a host: an optional method and a
	// path, as "POST /excel/generate" or "/files/{id}". Where several match, the
	// most specific counts.
	Pattern string
	// Run: the request is a concurrent run, which holds a slot while it is served.
	Run bool
	// Tiers that may use the route. Empty: all.
	Tiers []string
	// Public: no key is needed. It excludes Run and Tiers.
	Public bool
}

// DefaultConfig returns the configuration of a gateway without a file: a node on
// this machine with its built-in policy, closed when it cannot decide, a sync
// ceiling of 300 s, addresses limited as the tier pro is (60 a minute), no routes.
func DefaultConfig() Config {
	return Config{
		Limiter:     "127.0.0.1:7070",
		Fail:        client.FailClosed,
		Timeout:     client.DefaultTimeout,
		Policy:      policy.Default(),
		Anonymous:   Anonymous{Tier: "pro"},
		SyncCeiling: 300 * time.Second,
	}
}

// A problem is one thing that is wrong in a Config.
type problem struct {
	line  int    // of the file; 0: unknown
	field string // dotted path, as routes[0].pattern; empty: the file as a whole
	text  string
}

func (p problem) String() string {
	var b strings.Builder
	if p.line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.line)
	}
	if p.field != "" {
		b.WriteString(p.field + ": ")
	}
	return redact(b.String() + p.text)
}

// validate returns an error that has one line for each problem.
func (c *Config) validate() error {
	var errs []error
	for _, p := range c.problems() {
		errs = append(errs, fmt.Errorf("gateway: %v", p))
	}
	return errors.Join(errs...)
}

// problems returns all that is wrong in c.
func (c *Config) problems() []problem {
	var found []problem
	report := func(field, format string, args ...any) {
		found = append(found, problem{field: field, text: fmt.Sprintf(format, args...)})
	}
	if !validTarget(c.Limiter) {
		report("limiter", "must be an address such as 127.0.0.1:7070, or a target such as dns:///sluice:7070; is %q", c.Limiter)
	}
	if c.Fail != client.FailOpen && c.Fail != client.FailClosed {
		report("fail", "must be open or closed")
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		report("timeout", "must be from %v to %v, is %v", minTimeout, maxTimeout, c.Timeout)
	}
	if c.SyncCeiling < minCeiling || c.SyncCeiling > maxCeiling {
		report("sync_ceiling", "must be from %v to %v, is %v", minCeiling, maxCeiling, c.SyncCeiling)
	}
	for i, p := range c.TrustedProxies {
		if !p.IsValid() {
			report(index("trusted_proxies", i), "must be a network such as 10.0.0.0/8")
		}
	}
	if c.Policy == nil {
		report("policy", "is required")
		return found
	}
	if c.Policy.DefaultTier() == nil && !c.Policy.RequireKnownKeys() {
		report("policy", "a key that the policy does not list would have no tier: give it default_tier, or require_known_keys")
	}
	if _, ok := c.Policy.Tier(c.Anonymous.Tier); !ok {
		report("anonymous.tier", "must be a tier of the policy, which has no tier %q", c.Anonymous.Tier)
	}
	return append(found, c.routeProblems()...)
}

// routeProblems returns what is wrong with the routes.
func (c *Config) routeProblems() []problem {
	var found []problem
	report := func(field, format string, args ...any) {
		found = append(found, problem{field: field, text: fmt.Sprintf(format, args...)})
	}
	if len(c.Routes) > maxRoutes {
		report("routes", "must be at most %d, are %d", maxRoutes, len(c.Routes))
		return found
	}
	for i, r := range c.Routes {
		at := index("routes", i)
		switch {
		case r.Public && r.Run:
			report(at+".public", "a run needs a key, so its route cannot be public")
		case r.Public && len(r.Tiers) > 0:
			report(at+".public", "a route for certain tiers needs a key, so it cannot be public")
		}
		for j, name := range r.Tiers {
			if _, ok := c.Policy.Tier(name); !ok {
				report(index(at+".tiers", j), "must be a tier of the policy, which has no tier %q", name)
			}
		}
		if d := c.Policy.DefaultTier(); len(r.Tiers) > 0 && c.Policy.Keys() == 0 && d != nil && !slices.Contains(r.Tiers, d.Name()) {
			report(at+".tiers", "no key could use this route: the policy lists no keys, so all have the default tier, %s", d.Name())
		}
	}
	if _, bad := newRouteTable(c.Routes); len(bad) > 0 {
		found = append(found, bad...)
	}
	return found
}

// validTarget reports whether s may be what to dial.
func validTarget(s string) bool {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return scheme != "" && rest != ""
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return path != ""
	}
	_, port, err := net.SplitHostPort(s)
	return err == nil && port != ""
}

// index returns the path of an item of the list at path at.
func index(at string, i int) string { return fmt.Sprintf("%s[%d]", at, i) }
