package ownership

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// A Frame is what one node tells another at one moment about who decides. Frames may be
// lost, doubled and reordered.
type Frame struct {
	Stamp     limiter.Instant // the sender's clock
	Heartbeat *Heartbeat

	Asks        []Ask
	Pledges     []Pledge
	Stands      []Stand
	Votes       []Vote
	Withdrawals []Withdrawal
	Commits     []Commit
	Leaves      []Leave
	Lefts       []Left

	Remainders []Remainder
	Taken      []Taken
}

// Reset empties a frame, which keeps the memory of its asks and pledges for another.
func (f *Frame) Reset() {
	clear(f.Asks)
	clear(f.Pledges)
	*f = Frame{Asks: f.Asks[:0], Pledges: f.Pledges[:0]}
}

// A Copying is what one node tells another about the state of partitions. Those between
// two nodes arrive in order, or the driver tells that the link began anew; one that is
// lost all the same is noticed and sent again.
type Copying struct {
	Stamp     limiter.Instant // the sender's clock
	Snapshots []Snapshot
	Deltas    []Delta
	Acks      []Ack
	// Patient says that nobody waits for the acknowledgements of what this carries, nor of what
	// was sent before: they may go with the next copying, or a tick later.
	Patient bool
}

// Reset empties a copying, which keeps the memory of its lists for another.
func (c *Copying) Reset() {
	clear(c.Deltas)
	clear(c.Acks)
	*c = Copying{Deltas: c.Deltas[:0], Acks: c.Acks[:0]}
}

// A Heartbeat is sent to every member every 100 ms, and at once when something changed.
type Heartbeat struct {
	View     uint64 // id of the sender's view
	Young    bool   // the sender started so lately that it pledges nothing
	Draining bool
	Held     []Held // all partitions that the sender holds
}

// Held is one partition that the sender of a heartbeat holds. The generation is the
// sender's, with this number.
type Held struct {
	Partition limiter.PartitionID
	Number    uint64
	Permitted bool
}

// An Ask is a holder's request for a pledge. It comes every 100 ms.
type Ask struct {
	Partition limiter.PartitionID
	Number    uint64   // of the sender's generation
	Parent    Position // where that generation began
	Handed    bool     // the holder of the parent gave it up
	Copy      bool     // the receiver is or shall become a copy; else it is only a witness
}

// A Pledge answers an Ask.
type Pledge struct {
	Partition limiter.PartitionID
	Asked     limiter.Instant // stamp of the frame with the Ask
	Number    uint64          // of the asker's generation
	Given     bool
	Complete  bool       // the sender has a complete copy of that generation,
	Seq       uint64     // up to here
	Known     Generation // the latest generation that the sender has heard of
}

// A Stand is the request of a candidate for pledges, in one of its rounds.
type Stand struct {
	Partition limiter.PartitionID
	Round     uint64
	Why       Why
	At        Position // how fresh the candidate's state is
	View      uint64   // id of the candidate's view
}

// Why says what a round is for.
type Why uint8

// The three kinds of rounds.
const (
	Promote Why = iota + 1 // a copy becomes holder
	Drop                   // a holder goes on without a copy
	Begin                  // nobody has a state: the owner begins with none
)

// String returns what a round is for.
func (w Why) String() string {
	return [...]string{"", "promote", "drop", "begin"}[w]
}

// A Vote answers a Stand.
type Vote struct {
	Partition limiter.PartitionID
	Round     uint64
	Given     bool
	Known     Generation // the latest generation that the voter has heard of
}

// A Withdrawal ends a round that did not succeed: pledges given to it are void.
type Withdrawal struct {
	Partition limiter.PartitionID
	Round     uint64
}

// A Commit ends the sender's holding in favour of the receiver, whose copy is complete.
type Commit struct {
	Partition limiter.PartitionID
	At        Position // the sender's generation, and its last change
	Copies    []string // the registered copies, the sender among them, not the receiver
	// Pledged is an instant of the receiver's clock: the pledges of Copies hold for it as if
	// it had asked for them then. 0: they do not.
	Pledged limiter.Instant
}

// A Leave tells a copy that it is no longer needed.
type Leave struct {
	Partition limiter.PartitionID
	Number    uint64 // of the sender's generation
}

// Left answers a Leave: the copy is gone.
type Left struct {
	Partition limiter.PartitionID
	Number    uint64
}

// A Snapshot replaces the receiver's copy.
type Snapshot struct {
	Partition limiter.PartitionID
	At        Position
	Past      []Position // what the state has of earlier generations
	State     []byte
	Closed    time.Duration // not to be decided for so long, as what is missing was lost
}

// A Delta is what changed since the one before.
type Delta struct {
	Partition limiter.PartitionID
	Number    uint64 // of the sender's generation
	Changes   limiter.Changes
	Mark      Position // what the state has, by this delta, of another generation; or zero
}

// An Ack says how far a copy has come.
type Ack struct {
	Partition limiter.PartitionID
	At        Position
	Gap       bool // something did not follow: send again from here
}

// A Remainder is what a former holder admitted that the present one lacks.
type Remainder struct {
	Partition   limiter.PartitionID
	Gen         Generation // of the former holding
	First, Last uint64     // what of it this covers
	Past        []Position // with State: what else it covers
	Changes     []Stretch
	State       []byte // instead of Changes
}

// A Stretch is some changes of a generation. Mark, if not zero, says that they are the
// changes of another generation up to there.
type Stretch struct {
	limiter.Changes
	Mark Position
}

// size is about how much memory a stretch takes, in bytes.
func (s *Stretch) size() int { return cap(s.Bytes) + 96 }

// size is about how many bytes a remainder has.
func (r *Remainder) size() int {
	n := len(r.State)
	for i := range r.Changes {
		n += len(r.Changes[i].Bytes)
	}
	return n
}

// Taken answers a Remainder. The present holder has it, or it needs more.
type Taken struct {
	Partition   limiter.PartitionID
	Gen         Generation
	First, Last uint64
	Whole       bool // nothing was taken, as changes before First are lacking
}
