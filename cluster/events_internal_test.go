package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/cluster/ring"
	"github.com/overten/sluice/limiter"
)

func TestTheLogTellsWhoCameAndWent(t *testing.T) {
	views := ring.NewBuilder(71)
	build := func(members ...ring.Member) *ring.View {
		v, err := views.Build(members)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, b, c := ring.Member{Name: "a", Boot: 1}, ring.Member{Name: "b", Boot: 1}, ring.Member{Name: "c", Boot: 1}
	again := ring.Member{Name: "b", Boot: 2}
	for _, v := range []struct {
		old, now *ring.View
		want     string
	}{
		{nil, build(a), "members 1 was 0 joined [a] left [] partitions_moved 0"},
		{build(a), build(a, b, c), "members 3 was 1 joined [b c] left [] partitions_moved N"},
		{build(a, b, c), build(a, again), "members 2 was 3 joined [b] left [b c] partitions_moved N"},
	} {
		got := strings.Trim(fmt.Sprint(changed(v.old, v.now)[2:]), "[]")
		pattern, some := strings.CutSuffix(v.want, "N")
		if got != v.want && !(some && strings.HasPrefix(got, pattern) && !strings.HasSuffix(got, " 0")) {
			t.Errorf("told is %q, want %q", got, v.want)
		}
	}
}

func TestLossesAreToldTogether(t *testing.T) {
	var log bytes.Buffer
	var l losses
	logger := slog.New(slog.NewTextHandler(&log, nil))
	now := limiter.Instant(1)
	l.tell(logger, 0, 0, now)
	l.tell(logger, 3, 1, now.Add(lossesEvery/2))
	if log.Len() > 0 {
		t.Errorf("told too early: %s", &log)
	}
	l.tell(logger, 5, 2, now.Add(lossesEvery))
	l.tell(logger, 5, 2, now.Add(2*lossesEvery))
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "partitions=5") || !strings.Contains(got, "partitions=2") {
		t.Errorf("told is %s", got)
	}
}

// Of what a node sends again and again and cannot be taken there is a line a minute, with its name.
func TestRejectionsAreToldOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	var r rejections
	logger := slog.New(slog.NewTextHandler(&log, nil))
	start, err := limiter.Instant(1), errors.New("snapshot: it ends too early")
	for at := start; at < start.Add(2*rejectionsEvery); at = at.Add(2 * time.Second) {
		r.tell(logger, 417, "b", err, at)
		r.tell(logger, 3, "b", err, at)
	}
	r.tell(logger, 3, "c", err, start.Add(2*rejectionsEvery))
	got := log.String()
	for line, want := range map[string]int{
		`node=b partition=417 error="snapshot: it ends too early"`: 2, "node=b": 2, "node=c partition=3": 1, "level=WARN": 3,
	} {
		if n := strings.Count(got, line); n != want {
			t.Errorf("%q is told %d times, want %d:\n%s", line, n, want, got)
		}
	}
	for i := range 3 * maxRejecting {
		r.tell(logger, 0, fmt.Sprint(i), err, start)
	}
	if len(r.next) > maxRejecting {
		t.Errorf("%d nodes are remembered, at most %d are to be", len(r.next), maxRejecting)
	}
}

// A node's log tells what its machine was sent and its table does not take.
func TestTheLogTellsWhatIsNotTaken(t *testing.T) {
	var log logged
	n := begin(t, "s", &log)
	remainder := ownership.Remainder{Gen: ownership.Generation{Number: 1, Name: "x", Boot: 1}, Last: 9, State: []byte("garbled")}
	for range 3 {
		(*handler)(n).Frame("x", 1, &ownership.Frame{Stamp: n.Clock(), Remainders: []ownership.Remainder{remainder}})
	}
	if told := log.count("node=x partition=0 error="); told != 1 {
		t.Errorf("it was logged %d times, want once", told)
	}
}
