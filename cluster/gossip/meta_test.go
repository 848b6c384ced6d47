package gossip

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var fullMeta = Meta{
	Name: "sluice-0", Boot: 1 << 63, Draining: true,
	Peer: "10.0.0.1:7071", GRPC: "[fd00::1]:7070", Admin: "10.0.0.1:7090",
	Protocol: 0xffff, Ring: 1, Keys: 1 << 40, Policy: ^uint64(0),
}

func encoded(t testing.TB, m Meta) []byte {
	t.Helper()
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMetaSurvivesTheTrip(t *testing.T) {
	for _, m := range []Meta{fullMeta, {Name: "a"}, {Name: strings.Repeat("ö", MaxName/2), Peer: "x:1"}} {
		got, err := decodeMeta(encoded(t, m))
		if err != nil || got != m {
			t.Errorf("sent %+v, received %+v, %v", m, got, err)
		}
	}
}

// A newer version may add fields at the end; one cut short is never half read.
func TestMetaOfOtherVersions(t *testing.T) {
	b := encoded(t, fullMeta)
	if got, err := decodeMeta(append(b, "more than we know"...)); err != nil || got != fullMeta {
		t.Errorf("with fields that we do not know: %+v, %v", got, err)
	}
	for n := range b {
		if m, err := decodeMeta(b[:n]); err == nil {
			t.Errorf("cut after %d bytes: %+v", n, m)
		}
	}
	b[0]++
	if _, err := decodeMeta(b); err == nil {
		t.Error("another format is read as ours")
	}
}

func TestMetaRefuses(t *testing.T) {
	for want, m := range map[string]Meta{
		"name: is missing":       {},
		"name: has 129 bytes":    {Name: strings.Repeat("a", MaxName+1)},
		"name: is not valid UTF": {Name: "\xff"},
		"peer, grpc, admin":      {Name: "a", Admin: strings.Repeat("a", maxMeta)},
	} {
		if _, err := m.encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(encoded(f, fullMeta))
	f.Add(encoded(f, Meta{Name: "a"}))
	f.Add([]byte{})
	f.Add(append(make([]byte, 36), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			return // longer than what fits: not from one of us
		}
		if got, err := decodeMeta(again); err != nil || got != m {
			t.Fatalf("%+v became %+v, %v", m, got, err)
		}
	})
}

func FuzzMergeBoots(f *testing.F) {
	full := newRoster("a")
	full.boot("a", 3)
	full.boot("b", 1<<60)
	f.Add(full.encodeBoots())
	f.Add([]byte{bootsFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{bootsFormat, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRoster("a")
		r.boot("a", 5)
		err := r.mergeBoots(b)
		if r.highest("a") < 5 {
			t.Fatal("a boot number went back")
		}
		if err != nil && (len(r.boots) != 1 || r.highest("a") != 5) {
			t.Fatalf("an error left %v", r.boots)
		}
	})
}

func TestBootNumbersAreBounded(t *testing.T) {
	r := newRoster("a")
	r.present("a-1", Meta{Name: "a", Boot: 5}, netip.AddrPort{})
	r.present("b-1", Meta{Name: "b", Boot: 6}, netip.AddrPort{})
	for i := range uint64(2 * maxBoots) {
		r.boot(strings.Repeat("x", int(i%100)+1)+string(rune('a'+i/100)), i)
	}
	if len(r.boots) != maxBoots || r.highest("a") != 5 || r.highest("b") != 6 {
		t.Errorf("%d names are known, a's boot number as %d, b's as %d", len(r.boots), r.highest("a"), r.highest("b"))
	}
	other := newRoster("c")
	if err := other.mergeBoots(r.encodeBoots()); err != nil || other.highest("b") != 6 {
		t.Errorf("another learned %d of b, %v", other.highest("b"), err)
	}
}

// Of several lives of a name the newest counts, and every node picks the same.
func TestNewestLifeCounts(t *testing.T) {
	r := newRoster("a")
	at := netip.MustParseAddrPort("10.0.0.1:1")
	r.present("b-1", Meta{Name: "b", Boot: 7}, at)
	r.present("b-2", Meta{Name: "b", Boot: 9}, at)
	r.present("b-3", Meta{Name: "b", Boot: 8}, at)
	if got := r.members(); len(got) != 1 || got[0].Boot != 9 {
		t.Errorf("the members are %+v", got)
	}
	r.gone("b-1", time.Now())
	if got := r.members(); len(got) != 1 || got[0].Boot != 9 || len(r.lost) != 0 {
		t.Errorf("after an old life was found dead the members are %+v, looked for %v", got, r.lost)
	}
	r.present("b-1", Meta{Name: "b", Boot: 9, Policy: 1}, at)
	if got := r.members(); got[0].Policy != 0 {
		t.Error("of two equal boot numbers not the last by id counts")
	}
}
