package cluster

import (
	"log/slog"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

// changed returns what the log tells of a new view; old is nil before the first.
func changed(old, view *ring.View) []any {
	var joined, left []string
	var was []ring.Member
	moved := 0
	if old != nil {
		was = old.Members()
		for p := range view.Partitions() {
			if old.Owner(p) != view.Owner(p) {
				moved++
			}
		}
		for _, m := range was {
			if now, ok := view.Member(m.Name); !ok || now.Boot != m.Boot {
				left = append(left, m.Name)
			}
		}
	}
	for _, m := range view.Members() {
		if old == nil {
			joined = append(joined, m.Name)
		} else if before, ok := old.Member(m.Name); !ok || before.Boot != m.Boot {
			joined = append(joined, m.Name)
		}
	}
	return []any{
		"view", viewID(view.ID()), "members", len(view.Members()), "was", len(was), "joined", joined, "left", left, "partitions_moved", moved,
	}
}

// losses tell the log what became of partitions whose holder is gone: of many at a time in one line.
type losses struct {
	next           limiter.Instant // no line before
	promoted, lost uint64          // told of
}

const lossesEvery = time.Second

// tell tells what is new.
func (l *losses) tell(log *slog.Logger, promoted, lost uint64, now limiter.Instant) {
	if now < l.next {
		return
	}
	l.next = now.Add(lossesEvery)
	if promoted > l.promoted {
		log.Warn("partitions go on from this node's copies, as their holders are gone", "partitions", promoted-l.promoted)
	}
	if lost > l.lost {
		log.Warn("partitions begin with nothing, as their counts were lost with their holders and copies", "partitions", lost-l.lost)
	}
	l.promoted, l.lost = promoted, lost
}

// tellLossesLocked tells what the machine has noticed.
func (n *Node) tellLossesLocked(m *ownership.Machine, now limiter.Instant) {
	n.losses.tell(n.Log, m.Rounds()[ownership.Promote].Won, m.LostPartitions(), now)
}

// rejections tell the log whose state of a partition cannot be taken: of each node one line a minute.
type rejections struct {
	next map[string]limiter.Instant // by node, no line before
}

const (
	rejectionsEvery = time.Minute
	maxRejecting    = 256 // nodes remembered
)

// tell tells what was not taken, unless one of that node's was told lately.
func (r *rejections) tell(log *slog.Logger, p limiter.PartitionID, from string, err error, now limiter.Instant) {
	if now < r.next[from] {
		return
	}
	if r.next == nil || len(r.next) >= maxRejecting {
		r.next = make(map[string]limiter.Instant)
	}
	r.next[from] = now.Add(rejectionsEvery)
	log.Warn("what a node sent of a partition cannot be taken, and will come again", "node", from, "partition", p, "error", err)
}

// tellRejectedLocked tells what the machine's store did not take.
func (n *Node) tellRejectedLocked(p limiter.PartitionID, from string, err error) {
	n.rejected.tell(n.Log, p, from, err, n.Clock())
}
