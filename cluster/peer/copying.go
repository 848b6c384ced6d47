package peer

import (
	"fmt"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

func copyingToProto(c *ownership.Copying) *peerv1.Copying {
	l := new(lives)
	m := &peerv1.Copying{
		Stamp: int64(c.Stamp),
		Snapshots: each(c.Snapshots, func(s *ownership.Snapshot) *peerv1.Snapshot {
			return &peerv1.Snapshot{Partition: uint32(s.Partition), At: l.position(s.At), Past: l.positions(s.Past), State: s.State, Closed: int64(s.Closed)}
		}),
		Deltas: each(c.Deltas, func(d *ownership.Delta) *peerv1.Delta {
			return &peerv1.Delta{
				Partition: uint32(d.Partition), Number: d.Number, Changes: changesToProto(&d.Changes), Mark: l.position(d.Mark),
			}
		}),
		Acks: each(c.Acks, func(a *ownership.Ack) *peerv1.Ack {
			return &peerv1.Ack{Partition: uint32(a.Partition), At: l.position(a.At), Gap: a.Gap}
		}),
	}
	m.Lives = l.list
	return m
}

func copyingOf(m *peerv1.Copying) (*ownership.Copying, error) {
	r := &reading{lives: m.GetLives()}
	c := &ownership.Copying{
		Stamp: limiter.Instant(m.GetStamp()),
		Snapshots: each(m.GetSnapshots(), func(s **peerv1.Snapshot) ownership.Snapshot {
			return ownership.Snapshot{
				Partition: r.partition((*s).GetPartition()), At: r.position((*s).GetAt()),
				Past: r.positions((*s).GetPast()), State: (*s).GetState(), Closed: time.Duration((*s).GetClosed()),
			}
		}),
		Deltas: each(m.GetDeltas(), func(d **peerv1.Delta) ownership.Delta {
			return ownership.Delta{
				Partition: r.partition((*d).GetPartition()), Number: (*d).GetNumber(),
				Changes: changesOf((*d).GetChanges()), Mark: r.position((*d).GetMark()),
			}
		}),
		Acks: each(m.GetAcks(), func(a **peerv1.Ack) ownership.Ack {
			return ownership.Ack{Partition: r.partition((*a).GetPartition()), At: r.position((*a).GetAt()), Gap: (*a).GetGap()}
		}),
	}
	if r.err != nil {
		return nil, fmt.Errorf("copying: %w", r.err)
	}
	return c, nil
}
