package limiter

import (
	"fmt"
	"time"
)

// Bounds of a tier.
const (
	MaxWindows    = 4
	MaxLimit      = 1_000_000_000 // units a window
	MinPer        = 10 * time.Millisecond
	MaxPer        = 30 * 24 * time.Hour
	MaxConcurrent = 100_000 // runs a key
	MaxTierName   = 64      // bytes

	// fineLimit is the largest limit whose hits are kept by the millisecond.
	// Beyond it a thousandth of the window is fine enough, and bounds memory.
	fineLimit = 10_000

	// DefaultRunRetryHint is what a denied run is told to wait at most.
	DefaultRunRetryHint = 5 * time.Second
)

// A Window is a limit of Limit units in every period Per: not in each clock
// minute but in each stretch of that length, wherever it begins.
type Window struct {
	Limit uint32        // 1 to MaxLimit units
	Per   time.Duration // MinPer to MaxPer, whole milliseconds
}

// quantum returns the resolution, in milliseconds, at which hits under this
// window are told apart: 1 ms up to a limit of 10,000, else a thousandth of the
// period. A hit counts as if it had come at the end of its quantum, so rounding
// makes it expire late by less than one quantum, never early.
func (w Window) quantum() int64 {
	if w.Limit <= fineLimit {
		return 1
	}
	return max(1, w.Per.Milliseconds()/1000)
}

func (w Window) validate() error {
	switch {
	case w.Limit < 1 || w.Limit > MaxLimit:
		return fmt.Errorf("limit is %d, must be from 1 to %d", w.Limit, MaxLimit)
	case w.Per < MinPer || w.Per > MaxPer:
		return fmt.Errorf("per is %v, must be from %v to %v", w.Per, MinPer, MaxPer)
	case w.Per%time.Millisecond != 0:
		return fmt.Errorf("per is %v, must be whole milliseconds", w.Per)
	}
	return nil
}

// TierSpec says what a tier allows.
type TierSpec struct {
	Name       string        // 1 to MaxTierName bytes
	Windows    []Window      // one to MaxWindows; a request must fit all of them
	Concurrent uint32        // runs at a time, 0 (no runs) to MaxConcurrent
	MaxBody    int64         // bytes of upload that a gateway lets through; 0: not limited
	RetryHint  time.Duration // longest wait told to a denied run; 0: DefaultRunRetryHint
	Shadow     bool          // its limits deny nothing: see [Tier.Shade]
	Variant    string        // tells tiers of one name apart; "": the tier itself
}

// A Tier is a named policy, checked and ready to decide by. It is immutable.
type Tier struct {
	spec     TierSpec
	windows  [MaxWindows]window
	n        int
	quantum  int64  // ms: the finest of the windows
	horizon  int64  // ms: the longest period of the windows
	minLimit uint32 // the least limit of the windows: no cost above it can pass
	maxLimit uint32 // the largest
	half     *Tier  // the same with half of each limit, rounded up
	ref      string
}

// plain tells whether the tier is one window that counts by the millisecond, as most are.
func (t *Tier) plain() bool { return t.n == 1 && t.quantum == 1 }

// window is a Window in the units that decisions are made in.
type window struct {
	limit uint32
	per   int64 // ms
}

// NewTier checks spec and returns its tier. The error says which field is wrong.
func NewTier(spec TierSpec) (*Tier, error) {
	switch {
	case spec.Name == "" || len(spec.Name) > MaxTierName:
		return nil, fmt.Errorf("name has %d bytes, must have 1 to %d", len(spec.Name), MaxTierName)
	case len(spec.Windows) < 1 || len(spec.Windows) > MaxWindows:
		return nil, fmt.Errorf("windows: there are %d, must be 1 to %d", len(spec.Windows), MaxWindows)
	case spec.Concurrent > MaxConcurrent:
		return nil, fmt.Errorf("concurrent is %d, must be from 0 to %d", spec.Concurrent, MaxConcurrent)
	case spec.MaxBody < 0:
		return nil, fmt.Errorf("max_body is %d, must not be negative", spec.MaxBody)
	case spec.RetryHint < 0:
		return nil, fmt.Errorf("retry hint is %v, must not be negative", spec.RetryHint)
	}
	if spec.RetryHint == 0 {
		spec.RetryHint = DefaultRunRetryHint
	}
	spec.Windows = append([]Window(nil), spec.Windows...)
	t := &Tier{spec: spec, n: len(spec.Windows), quantum: spec.Windows[0].quantum(), minLimit: spec.Windows[0].Limit, ref: spec.Name}
	if spec.Variant != "" {
		t.ref += "~" + spec.Variant
	}
	for i, w := range spec.Windows {
		if err := w.validate(); err != nil {
			return nil, fmt.Errorf("windows[%d]: %w", i, err)
		}
		t.windows[i] = window{limit: w.Limit, per: w.Per.Milliseconds()}
		t.quantum = min(t.quantum, w.quantum())
		t.horizon = max(t.horizon, w.Per.Milliseconds())
		t.minLimit = min(t.minLimit, w.Limit)
		t.maxLimit = max(t.maxLimit, w.Limit)
	}
	t.half = t.halved()
	return t, nil
}

// LargestLimit returns the largest limit of any of its windows.
func (t *Tier) LargestLimit() uint32 { return t.maxLimit }

// halved returns the tier with half of each limit. Its resolution stays.
func (t *Tier) halved() *Tier {
	h := *t
	h.minLimit, h.maxLimit = h.minLimit-h.minLimit/2, h.maxLimit-h.maxLimit/2
	h.spec.Windows = append([]Window(nil), h.spec.Windows...)
	for i := range t.n {
		h.windows[i].limit -= h.windows[i].limit / 2
		h.spec.Windows[i].Limit = h.windows[i].limit
	}
	return &h
}

// Longest returns the longest period of the tier's windows.
func (t *Tier) Longest() time.Duration { return time.Duration(t.horizon) * time.Millisecond }

// Name returns the tier's name.
func (t *Tier) Name() string { return t.spec.Name }

// Ref returns what names the tier among nodes: its name, and behind a ~ its variant if it has one.
func (t *Tier) Ref() string { return t.ref }

// Windows returns the tier's windows. The caller must not change them.
func (t *Tier) Windows() []Window { return t.spec.Windows }

// Concurrent returns how many runs a key of this tier may have at a time.
func (t *Tier) Concurrent() uint32 { return t.spec.Concurrent }

// MaxBody returns how many bytes of upload a gateway lets through; 0: not limited.
func (t *Tier) MaxBody() int64 { return t.spec.MaxBody }

// RetryHint returns the longest wait that a denied run is told.
func (t *Tier) RetryHint() time.Duration { return t.spec.RetryHint }

// RunRetryAfter returns what a run is told to wait that was denied as all slots are
// taken: a hint, as a run may end at any time. It is freesIn, when a slot will be free
// for certain (0: unknown), but at most the tier's hint, within 20 % to either side by u,
// a random number from [0, 1), so that those who wait do not come back together; and at
// least a second.
func (t *Tier) RunRetryAfter(freesIn time.Duration, u float64) time.Duration {
	wait := t.spec.RetryHint
	if freesIn > 0 {
		wait = min(wait, freesIn)
	}
	wait = time.Duration(float64(wait) * (0.8 + 0.4*u))
	return max(time.Second, roundUp(wait))
}

// Limit returns the least limit of the tier's windows: what a key that was
// never seen has.
func (t *Tier) Limit() uint32 { return t.minLimit }
