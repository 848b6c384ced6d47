package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// content is what a naive store knows of a partition.
type content struct {
	hits   []admitted
	leases []leased // at most one of each run
	doubt  limiter.Exactness
	since  limiter.Instant
}

// admitted is one unit.
type admitted struct {
	uid uint64
	key uint8
	at  limiter.Instant
}

// leased is a lease, or, dead, the tombstone of a released one.
type leased struct {
	key        uint8
	run, nonce uint64
	end        limiter.Instant
	dead       bool
}

// yieldsTo tells whether what another holder has of a run replaces l, which may be nil: a
// release beats its lease, and of two leases the later stays.
func (l *leased) yieldsTo(other leased) bool {
	switch {
	case l == nil:
		return true
	case l.nonce == other.nonce:
		return !l.dead && (other.dead || other.end > l.end)
	case other.dead:
		return false // the run was taken up again
	}
	return l.dead || other.end > l.end
}

// of returns the lease or tombstone of a run, or nil.
func (c *content) of(key uint8, run uint64) *leased {
	for i := range c.leases {
		if l := &c.leases[i]; l.key == key && l.run == run {
			return l
		}
	}
	return nil
}

// units returns how many units of a key are in the window.
func (c *content) units(key uint8, now limiter.Instant) (n int) {
	for _, h := range c.hits {
		if h.key == key && h.at.Add(window) > now {
			n++
		}
	}
	return n
}

// live returns the nonces of a key's leases.
func (c *content) live(key uint8, now limiter.Instant) (nonces []uint64) {
	for _, l := range c.leases {
		if l.key == key && !l.dead && l.end > now {
			nonces = append(nonces, l.nonce)
		}
	}
	return nonces
}

// make makes a change.
func (c *content) make(ch change) {
	switch ch.kind {
	case hit:
		c.hits = append(c.hits, admitted{ch.a, ch.key, ch.at})
	case granted, released:
		l := leased{ch.key, ch.a, ch.b, ch.at, ch.kind == released}
		if old := c.of(ch.key, ch.a); old != nil {
			*old = l
		} else {
			c.leases = append(c.leases, l)
		}
	case prolonged:
		for i := range c.leases {
			c.leases[i].end = c.leases[i].end.Add(time.Duration(ch.a))
		}
	case doubted:
		c.doubt, c.since = max(c.doubt, limiter.Exactness(ch.key)), max(c.since, ch.at)
	}
}

// forget forgets what ended long ago: not at once, as leases may be prolonged.
func (c *content) forget(now limiter.Instant) {
	n := 0
	for _, h := range c.hits {
		if h.at.Add(2*window) > now {
			c.hits[n] = h
			n++
		}
	}
	c.hits = c.hits[:n]
	n = 0
	for _, l := range c.leases {
		if l.end.Add(time.Minute) > now {
			c.leases[n] = l
			n++
		}
	}
	c.leases = c.leases[:n]
}

// append encodes the content as changes that make it.
func (c *content) append(b []byte, since limiter.Instant) []byte {
	if c.doubt != 0 {
		b = change{kind: doubted, key: uint8(c.doubt), at: c.since}.append(b)
	}
	for _, h := range c.hits {
		if h.at > since {
			b = change{kind: hit, key: h.key, a: h.uid, at: h.at}.append(b)
		}
	}
	for _, l := range c.leases {
		kind := granted
		if l.dead {
			kind = released
		}
		b = change{kind, l.key, l.run, l.nonce, l.end}.append(b)
	}
	return b
}

// read makes encoded changes, numbered from, those from first on.
func (c *content) read(b []byte, from, first uint64, shift time.Duration) error {
	if len(b)%changeSize != 0 {
		return errTorn
	}
	for ; len(b) > 0; b = b[changeSize:] {
		if from >= first {
			c.make(readChange(b, shift))
		}
		from++
	}
	return nil
}
