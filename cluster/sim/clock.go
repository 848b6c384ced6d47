package sim

import (
	"time"

	"github.com/overten/sluice/limiter"
)

// moment is a point of the simulation's true time.
type moment time.Duration

// never is long before all moments.
const never moment = -1 << 60

func (t moment) after(d time.Duration) moment { return t + moment(d) }

func (t moment) since(u moment) time.Duration { return time.Duration(t - u) }

// clock is a node's monotonic clock: it has an origin and a rate of its own.
type clock struct {
	origin limiter.Instant
	ppm    int64
}

func (c clock) at(t moment) limiter.Instant {
	return c.origin + limiter.Instant(t) + limiter.Instant(int64(t)/1_000_000*c.ppm)
}

// agenda is what is to happen, in order of time; what is for one moment happens in the
// order in which it was put down.
type agenda struct {
	items []item // a heap, the next on top
	n     uint64
}

type item struct {
	at moment
	n  uint64
	do func()
}

func (i item) before(j item) bool { return i.at < j.at || i.at == j.at && i.n < j.n }

// put puts down what is to happen at a moment.
func (a *agenda) put(at moment, do func()) {
	a.n++
	a.items = append(a.items, item{})
	i, it := len(a.items)-1, item{at, a.n, do}
	for i > 0 && it.before(a.items[(i-1)/2]) {
		a.items[i] = a.items[(i-1)/2]
		i = (i - 1) / 2
	}
	a.items[i] = it
}

// next takes what is to happen next, if that is not after a moment.
func (a *agenda) next(until moment) (next item, ok bool) {
	if len(a.items) == 0 || a.items[0].at > until {
		return item{}, false
	}
	next = a.items[0]
	last := len(a.items) - 1
	it := a.items[last]
	a.items[last] = item{}
	a.items = a.items[:last]
	for i := 0; i < last; {
		child := 2*i + 1
		if child+1 < last && a.items[child+1].before(a.items[child]) {
			child++
		}
		if child >= last || it.before(a.items[child]) {
			a.items[i] = it
			break
		}
		a.items[i] = a.items[child]
		i = child
	}
	return next, true
}
