package limiter

import "time"

// A Reason says why a request or a run was denied.
type Reason uint8

// The reasons, numbered as in the API.
const (
	ReasonNone               Reason = iota // it was allowed
	ReasonRateLimited                      // a window has too little left
	ReasonConcurrencyLimited               // the key has as many runs as its tier allows
	ReasonCostExceedsLimit                 // the cost is above a window's limit
	ReasonKeyUnknown                       // the directory lacks the key
	ReasonKeyRevoked                       // the directory has the key as revoked
	ReasonKeySuspended                     // the directory has the key as suspended
	ReasonTableFull                        // no room for a new key
)

// Exactness says how sure an answer is.
type Exactness uint8

// The degrees, numbered as in the API.
const (
	Undecided  Exactness = iota // nothing was decided, and nothing changed
	Exact                       // from the complete history
	Recovering                  // from a copy that may lack a dead holder's last hits
	Degraded                    // by policy, without the history
)

// A Decision says whether a request may pass, and what is left. A denial
// changes nothing: no count, no slot, no memory.
type Decision struct {
	Allowed   bool
	Reason    Reason
	Exactness Exactness
	// Limit is that of the binding window: the one with the least remaining, among
	// equals the one that takes longest to grow, then the first.
	Limit uint32
	// Remaining is how many more units would pass now.
	Remaining uint32
	// Reset is how long until Remaining next grows, in whole milliseconds rounded
	// up; 0 if it is as large as it gets. After a denial that waiting helps it is
	// RetryAfter.
	Reset time.Duration
	// Permit is until when the decision may be told: compare again before replying.
	Permit Instant
	// RetryAfter is how long until this cost would pass with no other traffic, in
	// whole milliseconds rounded up; 0 if it passed or never can. It is at most the
	// period of the longest window (and less than a quantum more for a key that goes to
	// and fro between tiers of which one has a limit above 10,000).
	RetryAfter time.Duration
}

// A WindowState is one window of a tier as it stands for a key.
type WindowState struct {
	Window
	Used       uint32 // units counted in the period that ends now
	Remaining  uint32
	Reset      time.Duration // until this window's Remaining grows; 0: nothing is counted
	RetryAfter time.Duration // how long this window alone makes the request wait; 0: it does not, or for ever
}

// reading is what one window says at one instant. The zero reading is that of a
// key without history.
type reading struct {
	live uint32 // the oldest entry that it counts
	used uint32
}

// left returns how many units w would let pass.
func (m reading) left(w window) uint32 {
	if m.used >= w.limit {
		return 0
	}
	return w.limit - m.used
}

// wait returns how long it takes until cost passes w, in whole milliseconds
// rounded up: the time until the oldest entries are gone that hold as much as is
// missing. The cost must not be above the limit.
func (m reading) wait(h *history, w window, cost uint32, now Instant) time.Duration {
	missing := int64(m.used) + int64(cost) - int64(w.limit)
	if missing <= 0 {
		return 0
	}
	i := m.live // holds one unit at least
	if missing > 1 {
		i = h.firstCovering(i, h.unitsBefore(i)+uint32(missing))
	}
	return roundUp(h.expiry(i, w.per).Sub(now))
}

// roundUp rounds d up to whole milliseconds.
func roundUp(d time.Duration) time.Duration {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond)
}

// readings is what the windows of one tier say of one history at one instant.
type readings struct {
	tier *Tier
	h    history // h.record is nil for a key without history
	now  Instant
	each [MaxWindows]reading
	// sliver is set if a shorter window no longer counts the newest entry though its
	// tick has not yet left it. Once another entry follows, only the tick is known.
	sliver bool
	// prolonged is set if the history is kept for longer than before.
	prolonged bool
	exactness Exactness
	// whole is nil, or the tier of which tier has half the limits until an instant.
	whole *Tier
	until Instant
}

// read reads the windows. It first drops what has expired for every window that
// the history has served: so what a longer window finds does not depend on when
// memory was last swept. From then on the history is kept for the windows of this tier
// too, also if the request is denied: otherwise its wait could turn out shorter.
func (rs *readings) read() {
	if rs.h.record == nil {
		return
	}
	h := &rs.h
	h.dropFront(h.firstLive(int64(h.horizon), rs.now))
	rs.sliver = false
	n := h.entries()
	if n == 0 {
		h.horizon = uint32(rs.tier.horizon)
		rs.each = [MaxWindows]reading{}
		return
	}
	if h.horizon < uint32(rs.tier.horizon) {
		h.horizon, rs.prolonged = uint32(rs.tier.horizon), true
	}
	total := h.total()
	for i := range rs.tier.n {
		per := rs.tier.windows[i].per
		var m reading
		if per == int64(h.horizon) {
			m.used = total
		} else {
			m.live = h.firstLive(per, rs.now)
			m.used = total - h.unitsBefore(m.live)
			rs.sliver = rs.sliver || m.live == n && h.newest+per > rs.now.floorMillis()
		}
		rs.each[i] = m
	}
}

// passes tells whether every window lets cost pass.
func (rs *readings) passes(cost uint32) bool {
	for i := range rs.tier.n {
		if rs.each[i].left(rs.tier.windows[i]) < cost {
			return false
		}
	}
	return true
}

// wait returns the longest wait of any window until cost passes.
func (rs *readings) wait(cost uint32) time.Duration {
	var longest time.Duration
	for i := range rs.tier.n {
		longest = max(longest, rs.each[i].wait(&rs.h, rs.tier.windows[i], cost, rs.now))
	}
	return longest
}

// report fills in limit, remaining and reset.
func (rs *readings) report(d *Decision) {
	least := rs.each[0].left(rs.tier.windows[0])
	for i := 1; i < rs.tier.n; i++ {
		least = min(least, rs.each[i].left(rs.tier.windows[i]))
	}
	d.Remaining = least
	longest := time.Duration(-1)
	for i := range rs.tier.n {
		w := rs.tier.windows[i]
		if rs.each[i].left(w) != least {
			continue
		}
		var grows time.Duration // 0: this window cannot grow
		if least < w.limit {
			grows = rs.each[i].wait(&rs.h, w, least+1, rs.now)
		}
		if grows > longest {
			longest, d.Limit = grows, w.limit
		}
	}
	if least < rs.tier.minLimit {
		d.Reset = longest
	}
	if rs.whole != nil {
		rs.reportWhole(d)
	}
}

// decide decides cost by the readings into d, which is zero, and counts nothing.
func (rs *readings) decide(cost Cost, d *Decision) {
	d.Exactness = rs.exactness
	asked := max(uint32(cost), 1) // a peek asks for what one unit would be told
	switch {
	case asked > rs.tier.minLimit && (rs.whole == nil || asked > rs.whole.minLimit):
		d.Reason = ReasonCostExceedsLimit
	case !rs.passes(asked):
		d.Reason = ReasonRateLimited
		d.RetryAfter = rs.retryAfter(asked)
	default:
		d.Allowed = true
	}
}

// count adds units that are admitted, and brings the readings up to date. No window
// that the partition has seen has a limit above largest. There must be a record.
func (rs *readings) count(cost Cost, largest uint32) {
	newest, form, entries := rs.h.newest, rs.h.form(), rs.h.entries()
	rs.h.add(uint32(cost), rs.tier.quantum, rs.now)
	if trimmed := rs.h.trim(largest); trimmed || rs.sliver || rs.h.newest < newest || rs.h.form() != form || rs.h.entries() < entries {
		rs.read()
		return
	}
	for i := range rs.tier.n {
		rs.each[i].used += uint32(cost)
	}
}

// asked decides what an acquisition asks of the windows, and counts nothing. The
// zero Decision means that they are not asked. Without a slot nothing may pass.
func (rs *readings) asked(cost *Cost, noSlot bool) Decision {
	if cost == nil {
		return Decision{}
	}
	rs.read()
	var d Decision
	rs.decide(*cost, &d)
	if noSlot && d.Allowed {
		d.Allowed, d.Reason = false, ReasonConcurrencyLimited
	}
	rs.report(&d)
	if d.RetryAfter > 0 {
		d.Reset = d.RetryAfter
	}
	return d
}

// states returns each window's own numbers, for a request of the given cost.
func (rs *readings) states(cost Cost, allowed bool) []WindowState {
	states := make([]WindowState, rs.tier.n)
	for i := range states {
		w, m := rs.tier.windows[i], rs.each[i]
		s := WindowState{Window: rs.tier.spec.Windows[i], Used: m.used, Remaining: m.left(w)}
		if s.Remaining < w.limit {
			s.Reset = m.wait(&rs.h, w, s.Remaining+1, rs.now)
		}
		if asked := max(uint32(cost), 1); !allowed && asked <= w.limit {
			s.RetryAfter = m.wait(&rs.h, w, asked, rs.now)
		}
		states[i] = s
	}
	return states
}
