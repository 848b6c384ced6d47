package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// A Config says how a node takes part in gossip.
type Config struct {
	Meta Meta // what others are told of this node

	Bind      string   // host:port to listen on, both TCP and UDP; port 0 picks one
	Advertise string   // IP or host name (without a port) that others reach us at; "": found out
	Seeds     []string // host:port of members to join by; a name stands for all its addresses
	Label     string   // clusters of different labels never mix; at most 255 bytes, no secret
	Keys      [][]byte // AES keys of 16, 24 or 32 bytes: the first encrypts, all decrypt; none: plain

	Log    *slog.Logger // nil: silent
	Timing Timing

	// For tests; nil outside of them.
	Cut     func(addr string) bool                                       // nothing is sent to this IP:port
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error) // in place of DNS
}

// A Timing holds the clockwork of gossip. Zero values stand for the defaults, with which a member
// that dies without a word is known dead by all after 1.5 to 2.5 s.
type Timing struct {
	Probe        time.Duration // every so often one member is probed (500 ms)
	ProbeTimeout time.Duration // and has so long to answer (250 ms)
	Gossip       time.Duration // between messages that spread news (100 ms)
	Sync         time.Duration // between full exchanges with one other member (10 s)
	Reconcile    time.Duration // between full comparisons of what is known with what was told (5 s)
	Rejoin       time.Duration // between attempts to reach who is missing, ±25 % (3 s; a quarter of it before the first success)
	Connect      time.Duration // bound of one connection (2 s)
	Lookup       time.Duration // bound of looking a name up (8 s: DNS asks again after 5)
	Dead         time.Duration // for so long the dead are told that they are thought dead (30 s)
}

func (t Timing) withDefaults() Timing {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&t.Probe, 500*time.Millisecond)
	or(&t.ProbeTimeout, 250*time.Millisecond)
	or(&t.Gossip, 100*time.Millisecond)
	or(&t.Sync, 10*time.Second)
	or(&t.Reconcile, 5*time.Second)
	or(&t.Rejoin, 3*time.Second)
	or(&t.Connect, 2*time.Second)
	or(&t.Lookup, 8*time.Second)
	or(&t.Dead, 30*time.Second)
	return t
}

// settled is a Config after it was checked, with all that it leaves open decided.
type settled struct {
	Config
	bind      netip.AddrPort
	advertise netip.Addr // invalid: the address that we are bound to
	seeds     []seed
}

// A seed is an address to join by; the host may be a name.
type seed struct {
	host string
	port uint16
}

func (s seed) String() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// settle checks a Config whole. An error names the field.
func settle(ctx context.Context, c Config) (settled, error) {
	s := settled{Config: c}
	s.Timing = c.Timing.withDefaults()
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Resolve == nil {
		s.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if _, err := c.Meta.encode(); err != nil {
		return settled{}, err
	}
	if len(c.Label) > maxLabel {
		return settled{}, fmt.Errorf("label: has %d bytes, at most %d are allowed", len(c.Label), maxLabel)
	}
	if err := checkKeys(c.Keys); err != nil {
		return settled{}, err
	}
	for i, text := range c.Seeds {
		host, port, err := splitHostPort(text)
		if err == nil && (host == "" || port == 0) {
			err = errors.New("host or port is missing")
		}
		if err != nil {
			return settled{}, fmt.Errorf("seeds[%d]: %q: %w", i, text, err)
		}
		s.seeds = append(s.seeds, seed{host: host, port: port})
	}
	if err := s.settleAddresses(ctx); err != nil {
		return settled{}, err
	}
	return s, nil
}

func checkKeys(keys [][]byte) error {
	for i, key := range keys {
		if n := len(key); n != 16 && n != 24 && n != 32 {
			return fmt.Errorf("keys[%d]: has %d bytes, must have 16, 24 or 32", i, n)
		}
	}
	return nil
}
