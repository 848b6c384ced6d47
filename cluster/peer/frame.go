package peer

import (
	"errors"
	"fmt"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

func frameToProto(f *ownership.Frame) *peerv1.Frame {
	l := new(lives)
	m := &peerv1.Frame{
		Stamp:     int64(f.Stamp),
		Heartbeat: heartbeatToProto(f.Heartbeat),
		Asks: each(f.Asks, func(a *ownership.Ask) *peerv1.Ask {
			return &peerv1.Ask{
				Partition: uint32(a.Partition), Number: a.Number, Parent: l.position(a.Parent), Handed: a.Handed, Copy: a.Copy,
			}
		}),
		Pledges: each(f.Pledges, func(p *ownership.Pledge) *peerv1.Pledge {
			return &peerv1.Pledge{
				Partition: uint32(p.Partition), AskedAt: int64(p.Asked), Number: p.Number, Given: p.Given,
				Complete: p.Complete, Sequence: p.Seq, Known: l.generation(p.Known),
			}
		}),
		Stands: each(f.Stands, func(s *ownership.Stand) *peerv1.Stand {
			return &peerv1.Stand{
				Partition: uint32(s.Partition), Round: s.Round, Purpose: peerv1.Purpose(s.Why), At: l.position(s.At), View: s.View,
			}
		}),
		Votes: each(f.Votes, func(v *ownership.Vote) *peerv1.Vote {
			return &peerv1.Vote{Partition: uint32(v.Partition), Round: v.Round, Given: v.Given, Known: l.generation(v.Known)}
		}),
		Withdrawals: each(f.Withdrawals, func(w *ownership.Withdrawal) *peerv1.Withdrawal {
			return &peerv1.Withdrawal{Partition: uint32(w.Partition), Round: w.Round}
		}),
		Commits: each(f.Commits, func(c *ownership.Commit) *peerv1.Commit {
			return &peerv1.Commit{Partition: uint32(c.Partition), At: l.position(c.At), Copies: c.Copies, PledgedAt: int64(c.Pledged)}
		}),
		Leaves: each(f.Leaves, func(a *ownership.Leave) *peerv1.Leave {
			return &peerv1.Leave{Partition: uint32(a.Partition), Number: a.Number}
		}),
		Lefts: each(f.Lefts, func(a *ownership.Left) *peerv1.Left {
			return &peerv1.Left{Partition: uint32(a.Partition), Number: a.Number}
		}),
		Remainders: each(f.Remainders, func(r *ownership.Remainder) *peerv1.Remainder {
			return &peerv1.Remainder{
				Partition: uint32(r.Partition), Generation: l.generation(r.Gen), First: r.First, Last: r.Last,
				Past: l.positions(r.Past), State: r.State,
				Changes: each(r.Changes, func(s *ownership.Stretch) *peerv1.Stretch {
					return &peerv1.Stretch{Changes: changesToProto(&s.Changes), Mark: l.position(s.Mark)}
				}),
			}
		}),
		Taken: each(f.Taken, func(t *ownership.Taken) *peerv1.Taken {
			return &peerv1.Taken{Partition: uint32(t.Partition), Generation: l.generation(t.Gen), First: t.First, Last: t.Last, Whole: t.Whole}
		}),
	}
	m.Lives = l.list
	return m
}

func heartbeatToProto(h *ownership.Heartbeat) *peerv1.Heartbeat {
	if h == nil {
		return nil
	}
	m := &peerv1.Heartbeat{
		View: h.View, Young: h.Young, Draining: h.Draining,
		Held: make([]int32, len(h.Held)), Numbers: make([]uint64, len(h.Held)),
	}
	var before int32
	for i := range h.Held {
		held := &h.Held[i]
		m.Held[i], before = int32(held.Partition)-before, int32(held.Partition)
		m.Numbers[i] = held.Number
		if !held.Permitted {
			m.Waiting = append(m.Waiting, uint32(i))
		}
	}
	return m
}

func changesToProto(c *limiter.Changes) *peerv1.Changes {
	return &peerv1.Changes{First: c.First, Last: c.Last, SinceAt: int64(c.Since), Data: c.Bytes}
}

func frameOf(m *peerv1.Frame) (*ownership.Frame, error) {
	r := &reading{lives: m.GetLives()}
	f := &ownership.Frame{
		Stamp:     limiter.Instant(m.GetStamp()),
		Heartbeat: r.heartbeat(m.GetHeartbeat()),
		Asks: each(m.GetAsks(), func(a **peerv1.Ask) ownership.Ask {
			return ownership.Ask{
				Partition: r.partition((*a).GetPartition()), Number: (*a).GetNumber(), Parent: r.position((*a).GetParent()),
				Handed: (*a).GetHanded(), Copy: (*a).GetCopy(),
			}
		}),
		Pledges: each(m.GetPledges(), func(p **peerv1.Pledge) ownership.Pledge {
			return ownership.Pledge{
				Partition: r.partition((*p).GetPartition()), Asked: limiter.Instant((*p).GetAskedAt()), Number: (*p).GetNumber(),
				Given: (*p).GetGiven(), Complete: (*p).GetComplete(), Seq: (*p).GetSequence(), Known: r.generation((*p).GetKnown()),
			}
		}),
		Stands: each(m.GetStands(), func(s **peerv1.Stand) ownership.Stand {
			return ownership.Stand{
				Partition: r.partition((*s).GetPartition()), Round: (*s).GetRound(), Why: r.why((*s).GetPurpose()),
				At: r.position((*s).GetAt()), View: (*s).GetView(),
			}
		}),
		Votes: each(m.GetVotes(), func(v **peerv1.Vote) ownership.Vote {
			return ownership.Vote{
				Partition: r.partition((*v).GetPartition()), Round: (*v).GetRound(), Given: (*v).GetGiven(), Known: r.generation((*v).GetKnown()),
			}
		}),
		Withdrawals: each(m.GetWithdrawals(), func(w **peerv1.Withdrawal) ownership.Withdrawal {
			return ownership.Withdrawal{Partition: r.partition((*w).GetPartition()), Round: (*w).GetRound()}
		}),
		Commits: each(m.GetCommits(), func(c **peerv1.Commit) ownership.Commit {
			return ownership.Commit{
				Partition: r.partition((*c).GetPartition()), At: r.position((*c).GetAt()), Copies: (*c).GetCopies(), Pledged: limiter.Instant((*c).GetPledgedAt()),
			}
		}),
		Leaves: each(m.GetLeaves(), func(a **peerv1.Leave) ownership.Leave {
			return ownership.Leave{Partition: r.partition((*a).GetPartition()), Number: (*a).GetNumber()}
		}),
		Lefts: each(m.GetLefts(), func(a **peerv1.Left) ownership.Left {
			return ownership.Left{Partition: r.partition((*a).GetPartition()), Number: (*a).GetNumber()}
		}),
		Remainders: each(m.GetRemainders(), func(a **peerv1.Remainder) ownership.Remainder { return r.remainder(*a) }),
		Taken: each(m.GetTaken(), func(t **peerv1.Taken) ownership.Taken {
			return ownership.Taken{
				Partition: r.partition((*t).GetPartition()), Gen: r.generation((*t).GetGeneration()),
				First: (*t).GetFirst(), Last: (*t).GetLast(), Whole: (*t).GetWhole(),
			}
		}),
	}
	if r.err != nil {
		return nil, fmt.Errorf("frame: %w", r.err)
	}
	return f, nil
}

func (r *reading) heartbeat(m *peerv1.Heartbeat) *ownership.Heartbeat {
	if m == nil {
		return nil
	}
	h := &ownership.Heartbeat{View: m.GetView(), Young: m.GetYoung(), Draining: m.GetDraining()}
	steps, numbers := m.GetHeld(), m.GetNumbers()
	if len(steps) != len(numbers) {
		r.fail(errors.New("heartbeat.numbers: are not as many as held"))
		return nil
	}
	if len(steps) == 0 && len(m.GetWaiting()) == 0 {
		return h
	}
	h.Held = make([]ownership.Held, len(steps))
	var at int64
	for i := range h.Held {
		at += int64(steps[i])
		if at < 0 || at > 1<<16-1 {
			r.fail(errPartition)
			return nil
		}
		h.Held[i] = ownership.Held{Partition: limiter.PartitionID(at), Number: numbers[i], Permitted: true}
	}
	for _, i := range m.GetWaiting() {
		if int64(i) >= int64(len(h.Held)) {
			r.fail(errors.New("heartbeat.waiting: is beyond held"))
			return nil
		}
		h.Held[i].Permitted = false
	}
	return h
}

func (r *reading) why(p peerv1.Purpose) ownership.Why {
	switch p {
	case peerv1.Purpose_PURPOSE_PROMOTE:
		return ownership.Promote
	case peerv1.Purpose_PURPOSE_DROP:
		return ownership.Drop
	case peerv1.Purpose_PURPOSE_BEGIN:
		return ownership.Begin
	}
	r.fail(fmt.Errorf("stands.purpose: %d is not known", p))
	return 0
}

func changesOf(m *peerv1.Changes) limiter.Changes {
	return limiter.Changes{
		First: m.GetFirst(), Last: m.GetLast(), Since: limiter.Instant(m.GetSinceAt()), Bytes: m.GetData(),
	}
}

func (r *reading) remainder(m *peerv1.Remainder) ownership.Remainder {
	return ownership.Remainder{
		Partition: r.partition(m.GetPartition()), Gen: r.generation(m.GetGeneration()), First: m.GetFirst(), Last: m.GetLast(),
		Past: r.positions(m.GetPast()), State: m.State,
		Changes: each(m.GetChanges(), func(s **peerv1.Stretch) ownership.Stretch {
			return ownership.Stretch{Changes: changesOf((*s).GetChanges()), Mark: r.position((*s).GetMark())}
		}),
	}
}
