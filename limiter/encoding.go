package limiter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State travels as bytes: a snapshot of a partition, or changes to it. The first byte
// tells which, and the version of the format. Numbers are varints; instants are the
// sender's, told as differences to a base that the bytes begin with.
const (
	formatSnapshot = 0x11
	formatChanges  = 0x12
)

// The kinds of changes. Each is followed by when it was decided, as the difference to the
// change before.
const (
	changeHit       = iota + 1 // identity, units, quantum, horizon
	changeKept                 // identity, horizon
	changeLargest              // limit
	changeUnited               // identity, past
	changeLease                // identity, lease
	changeReleased             // identity, tombstone
	changeProlonged            // by
	changeReset                // identity
	changeDoubt                // doubt
)

const (
	// maxInstant bounds the instants that are read: 73 years. Sums of a few stay far
	// from overflowing.
	maxInstant = 1 << 61
	// maxAhead is how far in the reader's future something may have been admitted: the
	// longest quantum, and what clocks may be apart.
	maxAhead = Instant(time.Hour)
	// maxTotal bounds the units of a history, with room for the largest cost.
	maxTotal = 1<<32 - 1 - MaxLimit
)

func appendIdentity(b []byte, id Identity) []byte {
	b = binary.BigEndian.AppendUint64(b, id.hi)
	return binary.BigEndian.AppendUint64(b, id.lo)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// append encodes the lease as seen at base.
func (l *Lease) append(b []byte, base Instant) []byte {
	b = l.appendTombstone(b, base)
	b = binary.AppendVarint(b, int64(l.Acquired-base))
	b = append(b, flag(l.Adopted))
	for _, s := range [...]string{l.Tier, l.RunID, l.TaskID, l.RequestID} {
		b = appendString(b, s)
	}
	return b
}

// appendTombstone encodes what is left of the lease when it is released.
func (l *Lease) appendTombstone(b []byte, base Instant) []byte {
	b = binary.BigEndian.AppendUint64(b, l.Run.hi)
	b = binary.BigEndian.AppendUint64(b, l.Run.lo)
	b = binary.BigEndian.AppendUint64(b, l.Nonce)
	return binary.AppendVarint(b, int64(l.Expiry-base))
}

func (d doubt) append(b []byte, base Instant) []byte {
	b = append(b, byte(d.exactness), flag(d.half))
	return binary.AppendVarint(b, int64(d.since-base))
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

var errShort = errors.New("it ends too early")

// A reader reads what was encoded. After the first error it reads zeros; nothing that was
// read may be used before err is seen to be nil.
type reader struct {
	b     []byte
	base  Instant // the sender's
	shift Instant // from the sender's instants to ours, whole milliseconds
	now   Instant // ours
	err   error
}

// newReader begins to read bytes of a format. The shift is rounded up to whole
// milliseconds: what has been admitted so expires late rather than early, and all of it
// by the same.
func newReader(b []byte, format byte, shift time.Duration, now Instant) (r reader) {
	r.b, r.now = b, now
	if now < 0 || now > maxInstant || shift < -maxInstant || shift > maxInstant {
		r.fail("shift is %v at %d, out of range", shift, now)
		return r
	}
	r.shift = millis(Instant(shift).ceilMillis())
	if shift < 0 {
		r.shift = -millis(Instant(-shift).floorMillis())
	}
	if got := r.byte(); r.err == nil && got != format {
		r.fail("the format is %#x, must be %#x", got, format)
	}
	r.base = Instant(r.number(0, maxInstant, "base"))
	return r
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *reader) short() {
	if r.err == nil {
		r.err = errShort
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.short()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.short()
		return 0
	}
	n := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return n
}

func (r *reader) bool() bool {
	c := r.byte()
	if c > 1 {
		r.fail("a flag is %d, must be 0 or 1", c)
	}
	return c == 1
}

// number reads a number from least to most.
func (r *reader) number(least, most uint64, what string) uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.short()
		return least
	}
	r.b = r.b[size:]
	if n < least || n > most {
		r.fail("%s is %d, must be from %d to %d", what, n, least, most)
		return least
	}
	return n
}

func (r *reader) number64(least, most int64, what string) int64 {
	return int64(r.number(uint64(least), uint64(most), what))
}

// varint reads a number from -most to most.
func (r *reader) varint(most int64, what string) int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.short()
		return 0
	}
	r.b = r.b[size:]
	if n < -most || n > most {
		r.fail("%s is %d, must be from %d to %d", what, n, -most, most)
		return 0
	}
	return n
}

// sent reads an instant of the sender.
func (r *reader) sent(what string) Instant {
	at := r.base + Instant(r.varint(maxInstant, what))
	if at < 0 || at > maxInstant {
		r.fail("%s is %d, out of range", what, at)
		return 0
	}
	return at
}

// ours returns an instant of the sender as one of ours. What was before our origin is
// taken to be at it: later, so that nothing expires early.
func (r *reader) ours(sent Instant) Instant { return max(0, sent+r.shift) }

func (r *reader) instant(what string) Instant { return r.ours(r.sent(what)) }

// admitted is instant for what cannot be in the future.
func (r *reader) admitted(sent Instant, what string) Instant {
	at := r.ours(sent)
	if at > r.now+maxAhead {
		r.fail("%s is %v in the future", what, at.Sub(r.now))
		return 0
	}
	return at
}

func (r *reader) identity() Identity { return Identity{r.uint64(), r.uint64()} }

func (r *reader) string() string {
	n := r.number(0, uint64(len(r.b)), "length")
	if n > uint64(len(r.b)) {
		r.short()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) tombstone() Lease {
	return Lease{
		Run: RunHash{r.uint64(), r.uint64()}, Nonce: r.uint64(), Expiry: r.instant("expiry"),
	}
}

func (r *reader) lease() Lease {
	l := r.tombstone()
	l.Acquired = r.instant("acquired")
	l.Adopted = r.bool()
	l.Tier, l.RunID, l.TaskID, l.RequestID = r.string(), r.string(), r.string(), r.string()
	return l
}

func (r *reader) doubt() doubt {
	d := doubt{exactness: Exactness(r.byte()), half: r.bool(), since: r.instant("since")}
	if r.err == nil && d.exactness != Recovering && d.exactness != Degraded {
		r.fail("a doubt is %d, must be Recovering or Degraded", d.exactness)
	}
	return d
}
