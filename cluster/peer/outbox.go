package peer

import (
	"errors"
	"sync"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

// Bounds of a stream of letters.
const (
	pieceBytes = 256 << 10 // of a letter, or of letters that share a message: about
	maxLetter  = 256 << 20 // bytes; a larger one cannot be sent
	maxWaiting = 64 << 20  // bytes that wait in a queue, beside one letter that is larger
	maxLetters = 16_384    // that wait in a queue
)

var errOverflow = errors.New("letters came faster than they could be sent")

// An outbox is what waits to be written on one stream of letters. What is small goes out
// ahead of what is large, but letters about one partition that have to arrive in order do.
type outbox struct {
	wake chan struct{} // tells the writer to look

	mu      sync.Mutex // guards what follows
	small   queue
	large   queue                       // and the one that is being written, by its bytes
	behind  map[limiter.PartitionID]int // how many of large are about it, that one included which is being written
	dropped bool                        // something of small and large was
}

// queue is letters in order. A full one leaves the other its room.
type queue struct {
	letters []letter
	bytes   int  // of all but the one that is larger than may wait
	huge    bool // there is such a one
}

// put queues the letter, if there is room. What a state takes is not counted against what follows
// it: else a partition above the bound that is asked for could never be copied.
func (q *queue) put(l letter) bool {
	switch {
	case l.bytes > maxLetter || len(q.letters) >= maxLetters:
		return false
	case l.bytes > maxWaiting:
		if q.huge {
			return false
		}
		q.huge = true
	case q.bytes+l.bytes > maxWaiting:
		return false
	default:
		q.bytes += l.bytes
	}
	q.letters = append(q.letters, l)
	return true
}

// written gives the room of a letter back that was taken out.
func (q *queue) written(l letter) {
	if l.bytes > maxWaiting {
		q.huge = false
	} else {
		q.bytes -= l.bytes
	}
}

// letter is one frame or one copying.
type letter struct {
	frame   *ownership.Frame
	copying *ownership.Copying
	bytes   int // at most, on the wire
}

// append appends the letter, encoded.
func (l *letter) append(b []byte) ([]byte, error) {
	if l.frame != nil {
		return appendFrame(b, l.frame)
	}
	return appendCopying(b, l.copying)
}

// done gives back the memory of a small letter that was encoded.
func (l *letter) done() {
	if l.frame != nil {
		releaseFrame(l.frame)
		return
	}
	releaseCopying(l.copying)
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), behind: make(map[limiter.PartitionID]int)}
}

func (o *outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default: // it has been told
	}
}

// frame queues a frame, or drops it if too much waits. One that is large is taken apart, as remainders
// must not hold up what else it says: a late heartbeat is a silence.
func (o *outbox) frame(f *ownership.Frame) {
	o.mu.Lock()
	o.frameLocked(f)
	o.mu.Unlock()
	o.rouse()
}

func (o *outbox) frameLocked(f *ownership.Frame) {
	l := letter{frame: f, bytes: frameBytes(f)}
	if l.bytes <= pieceBytes {
		o.put(&o.small, l)
		return
	}
	rest := *f
	rest.Asks, rest.Pledges, rest.Remainders = nil, nil, nil
	for _, f := range []ownership.Frame{
		rest, {Stamp: f.Stamp, Asks: f.Asks}, {Stamp: f.Stamp, Pledges: f.Pledges}, {Stamp: f.Stamp, Remainders: f.Remainders},
	} {
		l := letter{frame: &f, bytes: frameBytes(&f)}
		switch {
		case l.bytes <= itemBytes: // it says nothing
		case l.bytes <= pieceBytes:
			o.put(&o.small, l)
		default:
			o.put(&o.large, l)
		}
	}
}

// copying queues a copying, or ends the stream if too much waits: nothing may be missing
// between two changes.
func (o *outbox) copying(c *ownership.Copying) {
	o.mu.Lock()
	o.copyingLocked(c)
	o.mu.Unlock()
	o.rouse()
}

func (o *outbox) copyingLocked(c *ownership.Copying) {
	if l, ok := o.whole(c); ok {
		o.put(&o.small, l)
		return
	}
	o.states(c)
	another := func() letter {
		return letter{copying: &ownership.Copying{Stamp: c.Stamp, Patient: c.Patient}, bytes: itemBytes}
	}
	rest := another()
	fit := func(n int) {
		if rest.bytes+n > pieceBytes {
			o.put(&o.small, rest)
			rest = another()
		}
		rest.bytes += n
	}
	for i := range c.Acks {
		fit(ackBytes(&c.Acks[i]))
		rest.copying.Acks = append(rest.copying.Acks, c.Acks[i])
	}
	for i := range c.Deltas {
		d := &c.Deltas[i]
		n := deltaBytes(d)
		if o.behind[d.Partition] > 0 || n > pieceBytes {
			o.putLarge(letter{copying: &ownership.Copying{Stamp: c.Stamp, Deltas: c.Deltas[i : i+1 : i+1], Patient: c.Patient}, bytes: itemBytes + n})
			continue
		}
		fit(n)
		rest.copying.Deltas = append(rest.copying.Deltas, *d)
	}
	if len(rest.copying.Deltas)+len(rest.copying.Acks) > 0 {
		o.put(&o.small, rest)
	}
}

// states queues the states of c one after the other as large letters, as many together as fill a
// piece.
func (o *outbox) states(c *ownership.Copying) {
	var some letter
	flush := func() {
		if some.copying != nil {
			o.putLarge(some)
		}
		some = letter{}
	}
	for i := range c.Snapshots {
		n := snapshotBytes(&c.Snapshots[i])
		if some.bytes+n > pieceBytes {
			flush()
		}
		if some.copying == nil {
			some = letter{copying: &ownership.Copying{Stamp: c.Stamp, Patient: c.Patient}, bytes: itemBytes}
		}
		some.copying.Snapshots = append(some.copying.Snapshots, c.Snapshots[i])
		some.bytes += n
	}
	flush()
}

// whole returns c as one letter, as most are, if nothing of it has to wait for what is larger.
func (o *outbox) whole(c *ownership.Copying) (l letter, ok bool) {
	l = letter{copying: c, bytes: itemBytes}
	for i := range c.Acks {
		l.bytes += ackBytes(&c.Acks[i])
	}
	for i := range c.Deltas {
		d := &c.Deltas[i]
		if len(o.behind) > 0 && o.behind[d.Partition] > 0 {
			return letter{}, false
		}
		l.bytes += deltaBytes(d)
	}
	says := len(c.Deltas)+len(c.Acks) > 0 || !c.Patient
	return l, says && len(c.Snapshots) == 0 && l.bytes <= pieceBytes
}

// putLarge queues a letter of copies that others about its partitions must not overtake.
func (o *outbox) putLarge(l letter) {
	if !o.put(&o.large, l) {
		return
	}
	l.partitions(func(p limiter.PartitionID) { o.behind[p]++ })
}

// partitions calls f for each item of a letter of copies that must arrive in order.
func (l *letter) partitions(f func(limiter.PartitionID)) {
	if l.copying == nil {
		return
	}
	for i := range l.copying.Snapshots {
		f(l.copying.Snapshots[i].Partition)
	}
	for i := range l.copying.Deltas {
		f(l.copying.Deltas[i].Partition)
	}
}

func (o *outbox) put(q *queue, l letter) bool {
	ok := q.put(l)
	o.dropped = o.dropped || !ok
	return ok
}

// hurried moves the small letters to dst, and tells whether letters were dropped since.
func (o *outbox) hurried(dst []letter) (letters []letter, dropped bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	dst = append(dst, o.small.letters...)
	clear(o.small.letters)
	o.small = queue{letters: o.small.letters[:0]}
	dropped, o.dropped = o.dropped, false
	return dst, dropped
}

// next takes the next large letter. Until written is called with it, no other about its
// partitions overtakes it.
func (o *outbox) next() (l letter, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := &o.large
	if len(q.letters) == 0 {
		return letter{}, false
	}
	l = q.letters[0]
	q.letters[0] = letter{}
	if q.letters = q.letters[1:]; len(q.letters) == 0 {
		q.letters = nil
	}
	return l, true
}

func (o *outbox) written(l letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.large.written(l)
	l.partitions(func(p limiter.PartitionID) {
		if o.behind[p]--; o.behind[p] == 0 {
			delete(o.behind, p)
		}
	})
}
