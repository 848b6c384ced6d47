package peer

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// A Kind says what a Call asks for.
type Kind uint8

// The kinds of calls.
const (
	Check Kind = iota + 1
	Acquire
	Renew
	Release
)

// A Call is one question that a node forwards to the one that it believes to be the holder.
// The API key itself never travels, only its hashes. Which fields count depends on the kind.
type Call struct {
	Kind Kind
	Key  limiter.Key // of every kind; of Renew and Release that of Ref, which has no other
	Tier string      // its Ref. Check, Acquire; Renew: of the lease if it must be adopted

	// Of is the tier as the asking node has it, by which it decides itself: it does not travel.
	// nil: whoever decides looks Tier up.
	Of *limiter.Tier

	Cost    uint32 // Check; Acquire: if HasCost
	HasCost bool
	Explain bool // Check: answer Windows too

	Run       limiter.RunHash // Acquire
	RunID     string
	TaskID    string
	RequestID string
	Nonce     uint64
	TTL       time.Duration // Acquire, Renew

	Ref limiter.LeaseRef // Renew, Release

	Trace    *Trace          // nil: nobody traces the call
	Hops     int             // how often the call was forwarded, this time included. 0 to 255
	Deadline limiter.Instant // by the clock of whoever has the Call: after it nobody waits for the answer
}

// A Trace names the span of a trace that a call belongs to, as W3C's traceparent does: the id of
// the trace, that of the span, and the flags.
type Trace [16 + 8 + 1]byte

// An Answer is what became of a Call. At most one of Undecided, Unknown and Err is set; else
// the call was decided.
type Answer struct {
	// Decision and the one in Grant have no Permit when they come from another node: it
	// compared before it answered.
	Decision limiter.Decision
	Windows  []limiter.WindowState
	Grant    limiter.Grant
	Left     time.Duration // Renew: how long the lease has
	Released bool

	Forwarded bool   // another node answered. It does not travel
	Undecided bool   // certainly not decided: it may be asked again, elsewhere
	Holder    string // with Undecided: the node that holds the partition, as a hint; may be empty
	Unknown   bool   // it was written to the node, and no answer came
	Err       error  // limiter.ErrConflict, limiter.ErrGone, or what else the node said
}
