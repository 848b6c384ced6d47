package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, change := range map[string]func(*Config){
		"name: is missing":          func(c *Config) { c.Meta.Name = "" },
		"peer, grpc, admin":         func(c *Config) { c.Meta.Peer = strings.Repeat("a", maxMeta) },
		`bind: "127.0.0.1"`:         func(c *Config) { c.Bind = "127.0.0.1" },
		"bind: \"127.0.0.1:65536\"": func(c *Config) { c.Bind = "127.0.0.1:65536" },
		`bind: "nobody.test"`:       func(c *Config) { c.Bind = "nobody.test:0" },
		"bind: failed to start":     func(c *Config) { c.Bind = taken.Addr().String() },
		`advertise: "nobody.test"`:  func(c *Config) { c.Advertise = "nobody.test" },
		`advertise: "10.0.0.1:7"`:   func(c *Config) { c.Advertise = "10.0.0.1:7" },
		`advertise: 0.0.0.0 is not`: func(c *Config) { c.Advertise = "0.0.0.0" },
		"advertise: 224.0.0.1":      func(c *Config) { c.Advertise = "224.0.0.1" },
		"seeds[1]: \"b\"":           func(c *Config) { c.Seeds = []string{"a:1", "b"} },
		"seeds[0]: \":7946\"":       func(c *Config) { c.Seeds = []string{":7946"} },
		"seeds[0]: \"a:0\"":         func(c *Config) { c.Seeds = []string{"a:0"} },
		"label: has 256 bytes":      func(c *Config) { c.Label = strings.Repeat("l", 256) },
		"keys[1]: has 3 bytes":      func(c *Config) { c.Keys = [][]byte{keyOld, []byte("abc")} },
	} {
		c := configOf("a")
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		change(&c)
		g, err := Start(c)
		if err == nil {
			g.Shutdown()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "abc") {
			t.Errorf("want an error about %s, got %v", want, err)
		}
	}
}

// What others are given as our address.
func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ bind, advertise, want string }{
		{"127.0.0.1:0", "", "127.0.0.1"},
		{"node.test:0", "", "127.0.0.1"}, // its IPv4 address, of several
		{"0.0.0.0:0", "10.1.2.3", "10.1.2.3"},
		{":0", "node.test", "127.0.0.1"},
		{"0.0.0.0:0", "fd00::7", "fd00::7"},
	} {
		config := configOf("a")
		config.Bind, config.Advertise = c.bind, c.advertise
		config.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
		}
		g := start(t, config)
		host, port, err := net.SplitHostPort(g.Addr())
		if err != nil || host != c.want || port == "0" {
			t.Errorf("bound to %s, advertising %q: others are given %s", c.bind, c.advertise, g.Addr())
		}
		if got := memberNamed(g, "a").Gossip; got != g.Addr() {
			t.Errorf("members are told %s, Addr is %s", got, g.Addr())
		}
	}
}

func TestReachableAddress(t *testing.T) {
	t.Parallel()
	list := func(cidrs ...string) []net.Addr {
		var addrs []net.Addr
		for _, c := range cidrs {
			ip, n, err := net.ParseCIDR(c)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return addrs
	}
	for _, c := range []struct {
		addrs []net.Addr
		six   bool
		want  string // "": none
	}{
		{list("127.0.0.1/8", "8.8.8.8/24", "10.0.0.5/8"), false, "10.0.0.5"},
		{list("127.0.0.1/8", "8.8.8.8/24"), false, "8.8.8.8"},
		{list("127.0.0.1/8", "169.254.1.1/16", "fe80::1/64"), true, ""},
		{list("fd00::1/64", "2001:db8::1/64"), true, "fd00::1"},
		{list("fd00::1/64"), false, ""},
		{list("fd00::1/64", "192.168.1.9/24"), true, "192.168.1.9"},
		{nil, true, ""},
	} {
		got, err := reachable(c.addrs, c.six)
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("%v: %v, %v, want %q", c.addrs, got, err, c.want)
		}
	}
}
