package peer

import (
	"fmt"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// What a frame says now and then, which is all but its heartbeat, asks and pledges, is encoded by
// protobuf.

// rare returns what f says now and then; nil: nothing.
func (l *lives) rare(f *ownership.Frame) *peerv1.Frame {
	if len(f.Stands)+len(f.Votes)+len(f.Withdrawals)+len(f.Commits)+len(f.Leaves)+len(f.Lefts)+len(f.Remainders)+len(f.Taken) == 0 {
		return nil
	}
	return &peerv1.Frame{
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
}

func changesToProto(c *limiter.Changes) *peerv1.Changes {
	return &peerv1.Changes{First: c.First, Last: c.Last, SinceAt: int64(c.Since), Data: c.Bytes}
}

// rare reads what a frame says now and then.
func (r *reading) rare(m *peerv1.Frame, f *ownership.Frame) {
	f.Stands = each(m.GetStands(), func(s **peerv1.Stand) ownership.Stand {
		return ownership.Stand{
			Partition: r.partition((*s).GetPartition()), Round: (*s).GetRound(), Why: r.why((*s).GetPurpose()),
			At: r.position((*s).GetAt()), View: (*s).GetView(),
		}
	})
	f.Votes = each(m.GetVotes(), func(v **peerv1.Vote) ownership.Vote {
		return ownership.Vote{
			Partition: r.partition((*v).GetPartition()), Round: (*v).GetRound(), Given: (*v).GetGiven(), Known: r.generation((*v).GetKnown()),
		}
	})
	f.Withdrawals = each(m.GetWithdrawals(), func(w **peerv1.Withdrawal) ownership.Withdrawal {
		return ownership.Withdrawal{Partition: r.partition((*w).GetPartition()), Round: (*w).GetRound()}
	})
	f.Commits = each(m.GetCommits(), func(c **peerv1.Commit) ownership.Commit {
		return ownership.Commit{
			Partition: r.partition((*c).GetPartition()), At: r.position((*c).GetAt()), Copies: (*c).GetCopies(), Pledged: limiter.Instant((*c).GetPledgedAt()),
		}
	})
	f.Leaves = each(m.GetLeaves(), func(a **peerv1.Leave) ownership.Leave {
		return ownership.Leave{Partition: r.partition((*a).GetPartition()), Number: (*a).GetNumber()}
	})
	f.Lefts = each(m.GetLefts(), func(a **peerv1.Left) ownership.Left {
		return ownership.Left{Partition: r.partition((*a).GetPartition()), Number: (*a).GetNumber()}
	})
	f.Remainders = each(m.GetRemainders(), func(a **peerv1.Remainder) ownership.Remainder { return r.remainder(*a) })
	f.Taken = each(m.GetTaken(), func(t **peerv1.Taken) ownership.Taken {
		return ownership.Taken{
			Partition: r.partition((*t).GetPartition()), Gen: r.generation((*t).GetGeneration()),
			First: (*t).GetFirst(), Last: (*t).GetLast(), Whole: (*t).GetWhole(),
		}
	})
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
