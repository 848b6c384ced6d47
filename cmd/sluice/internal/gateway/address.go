package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddress returns where a request comes from: the peer, unless that is a
// trusted proxy. Then it is the right-most address of X-Forwarded-For that is
// not one: what stands left of it is the client's own word. An entry that is no
// address ends the search, at the proxy that wrote it. The zero Addr: unknown.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := parseHop(r.RemoteAddr)
	if !contains(trusted, addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		hop := parseHop(strings.TrimSpace(text))
		if !hop.IsValid() {
			return addr
		}
		if addr = hop; !contains(trusted, addr) {
			return addr
		}
	}
	return addr
}

// parseHop reads an address, with or without a port and brackets.
func parseHop(s string) netip.Addr {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return plain(a.Addr())
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return plain(a)
}

// plain gives each address one form: IPv4 as such, IPv6 without a zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addressKey returns the key that an address counts under. Whoever has IPv6 has
// a /64 of addresses at least, so that counts as one.
func addressKey(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "ip:unknown" // as for a peer on a Unix socket
	case a.Is4():
		return "ip:" + a.String()
	}
	return "ip:" + netip.PrefixFrom(a, 64).Masked().String()
}
