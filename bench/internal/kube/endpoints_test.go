package kube

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestReadiness(t *testing.T) {
	var r Readiness
	for i, c := range []struct{ ok, ready bool }{
		{false, false}, {true, true}, {false, true}, {false, true}, {true, true}, {false, true}, {false, true}, {false, false}, {false, false}, {true, true},
	} {
		if r.Observe(c.ok); r.Ready != c.ready {
			t.Errorf("after probe %d it is ready: %v", i, r.Ready)
		}
	}
}

func TestEndpointsAreLate(t *testing.T) {
	e := Endpoints{Lag: 2 * sec}
	e.Publish(5*sec, make([]Endpoint, 1))
	e.Publish(6*sec, make([]Endpoint, 2))
	for at, want := range map[time.Duration]int{5 * sec: 0, 7 * sec: 1, 8 * sec: 2, 30 * sec: 2} {
		if got := len(e.At(at)); got != want {
			t.Errorf("at %v there are %d, want %d", at, got, want)
		}
	}
	e.Publish(20*sec, make([]Endpoint, 3))
	if before, after := len(e.At(21*sec)), len(e.At(22*sec)); before != 2 || after != 3 {
		t.Errorf("%d, then %d", before, after)
	}
	if len(e.was) != 2 {
		t.Errorf("%d are kept", len(e.was))
	}
}

func TestResolve(t *testing.T) {
	a, b := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")
	all := []Endpoint{{Pod: "sluice-0", Address: a, Serving: true}, {Pod: "sluice-1", Address: b}}
	for name, want := range map[string][]netip.Addr{
		Service + "." + Domain:              {a},
		Gossip + "." + Domain:               {a, b},
		"sluice-1." + Gossip + "." + Domain: {b},
	} {
		if got, ok := Resolve(all, name); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"sluice-1." + Service + "." + Domain, "sluice-2." + Gossip + "." + Domain, "other." + Domain, Domain, "example.com.", Gossip + "." + Domain + "cluster.local."} {
		if got, ok := Resolve(all, name); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got, ok := Resolve(nil, Gossip+"."+Domain); !ok || len(got) > 0 {
		t.Errorf("without pods: %v, %v", got, ok)
	}
}
