package nameserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	one   = netip.MustParseAddr("198.18.0.1")
	two   = netip.MustParseAddr("198.18.0.2")
	local = netip.MustParseAddr("127.0.0.1")
)

func zone(name string) ([]netip.Addr, bool) {
	switch name {
	case "gossip.test.":
		return []netip.Addr{one, two}, true
	case "nobody.test.":
		return nil, true
	}
	return nil, false
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name, ask string
		kind      dnsmessage.Type
		trouble   Trouble
		code      dnsmessage.RCode
		want      []netip.Addr
	}{
		{name: "all addresses", ask: "gossip.test.", kind: dnsmessage.TypeA, want: []netip.Addr{one, two}},
		{name: "in any case", ask: "GoSSip.test.", kind: dnsmessage.TypeA, want: []netip.Addr{one, two}},
		{name: "none of IPv6", ask: "gossip.test.", kind: dnsmessage.TypeAAAA},
		{name: "a Service without pods", ask: "nobody.test.", kind: dnsmessage.TypeA},
		{name: "no such name", ask: "other.test.", kind: dnsmessage.TypeA, code: dnsmessage.RCodeNameError},
		{name: "it fails", ask: "gossip.test.", kind: dnsmessage.TypeA, trouble: Trouble{Fail: true}, code: dnsmessage.RCodeServerFailure},
		{name: "empty", ask: "gossip.test.", kind: dnsmessage.TypeA, trouble: Trouble{Empty: true}},
		{name: "stale", ask: "gossip.test.", kind: dnsmessage.TypeA, trouble: Trouble{Stale: []netip.Addr{local}}, want: []netip.Addr{local}},
		{name: "no stale address for no name", ask: "other.test.", kind: dnsmessage.TypeA, trouble: Trouble{Stale: []netip.Addr{local}}, code: dnsmessage.RCodeNameError},
	} {
		q := dnsmessage.Question{Name: dnsmessage.MustNewName(c.ask), Type: c.kind, Class: dnsmessage.ClassINET}
		b, err := answer(dnsmessage.Header{ID: 7, RecursionDesired: true}, q, zone, c.trouble)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []netip.Addr
		for _, r := range m.Answers {
			got = append(got, netip.AddrFrom4(r.Body.(*dnsmessage.AResource).A))
		}
		if m.ID != 7 || !m.Response || m.RCode != c.code || !slices.Equal(got, c.want) || len(m.Questions) != 1 {
			t.Errorf("%s: %v, want %v and %v", c.name, m.GoString(), c.code, c.want)
		}
	}
}

func TestTroublePasses(t *testing.T) {
	now := time.Now()
	bad := Trouble{Fail: true, Until: now.Add(time.Second), Names: func(n string) bool { return n == "a." }}
	if !bad.at(now, "a.").Fail || bad.at(now, "b.").Fail || bad.at(now.Add(time.Second), "a.").Fail {
		t.Error("it is not there when it should be, or is when it should not")
	}
}

// Go's own resolver, which the nodes use, understands the answers.
func TestResolver(t *testing.T) {
	s, err := Listen("127.0.0.1:0", zone)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.Address())
	}}
	lookUp := func() ([]netip.Addr, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		got, err := r.LookupNetIP(ctx, "ip", "gossip.test.")
		for i := range got {
			got[i] = got[i].Unmap()
		}
		slices.SortFunc(got, netip.Addr.Compare)
		return got, err
	}
	if got, err := lookUp(); err != nil || !slices.Equal(got, []netip.Addr{one, two}) {
		t.Errorf("%v, %v", got, err)
	}
	s.Trouble(local, Trouble{Empty: true})
	var dns *net.DNSError
	if got, err := lookUp(); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("where it is empty: %v, %v", got, err)
	}
	s.Trouble(local, Trouble{Fail: true})
	if got, err := lookUp(); !errors.As(err, &dns) || !dns.IsTemporary {
		t.Errorf("where it fails: %v, %v", got, err)
	}
	s.Trouble(local, Trouble{Stale: []netip.Addr{two}})
	if got, err := lookUp(); err != nil || !slices.Equal(got, []netip.Addr{two}) {
		t.Errorf("where it is stale: %v, %v", got, err)
	}
	const late = 100 * time.Millisecond
	s.Trouble(local, Trouble{Delay: late})
	began := time.Now()
	if got, err := lookUp(); err != nil || len(got) != 2 || time.Since(began) < late {
		t.Errorf("where it is slow: %v, %v, after %v", got, err, time.Since(began))
	}
	s.Trouble(netip.MustParseAddr("127.0.0.2"), Trouble{Fail: true}) // somebody else's
	s.Trouble(local, Trouble{})
	if got, err := lookUp(); err != nil || len(got) != 2 {
		t.Errorf("when it is over: %v, %v", got, err)
	}
}
