package sim

import (
	"container/heap"
	"time"

	"github.com/overten/sluice/limiter"
)

// moment is a point of the simulation's true time.
type moment time.Duration

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
	items agendaHeap // the next on top
	n     uint64
}

type item struct {
	at moment
	n  uint64
	do func()
}

func (a *agenda) put(at moment, do func()) {
	a.n++
	heap.Push(&a.items, item{at, a.n, do})
}

type agendaHeap []item

func (h agendaHeap) Len() int { return len(h) }
func (h agendaHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h agendaHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *agendaHeap) Push(x any)   { *h = append(*h, x.(item)) }
func (h *agendaHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = item{}
	*h = old[:len(old)-1]
	return x
}
