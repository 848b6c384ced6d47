package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
