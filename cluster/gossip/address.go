package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// settleAddresses decides where to listen and what address to give to others.
func (s *settled) settleAddresses(ctx context.Context) error {
	host, port, err := splitHostPort(s.Bind)
	if err != nil {
		return fmt.Errorf("bind: %q: %w", s.Bind, err)
	}
	if host == "" {
		host = netip.IPv4Unspecified().String()
	}
	ip, err := s.oneAddress(ctx, host)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	s.bind = netip.AddrPortFrom(ip, port)
	switch {
	case s.Advertise != "":
		if s.advertise, err = s.oneAddress(ctx, s.Advertise); err != nil {
			return fmt.Errorf("advertise: %w", err)
		}
		if s.advertise.IsUnspecified() || s.advertise.IsMulticast() {
			return fmt.Errorf("advertise: %s is not an address that others can reach", s.advertise)
		}
	case ip.IsUnspecified():
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("advertise: %w", err)
		}
		if s.advertise, err = reachable(addrs, ip.Is6()); err != nil {
			return fmt.Errorf("advertise: %w", err)
		}
	}
	return nil
}

// oneAddress returns the address that a host is or has; of several that of IPv4, else the first.
func (s *settled) oneAddress(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return plain(ip), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timing.Lookup)
	defer cancel()
	ips, err := s.Resolve(ctx, host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is no IP, and no name that resolves: %w", host, err)
	}
	for _, ip := range ips {
		if plain(ip).Is4() {
			return plain(ip), nil
		}
	}
	if len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("%q has no address", host)
	}
	return plain(ips[0]), nil
}

// reachable picks the address of this machine that others most likely reach: a private one before a
// public one, IPv4 before IPv6 (which counts only if six says so).
func reachable(addrs []net.Addr, six bool) (netip.Addr, error) {
	var best netip.Addr
	var bestRank int
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		ip = plain(ip)
		if !ok || !ip.IsGlobalUnicast() || ip.Is6() && !six {
			continue
		}
		rank := 1
		if ip.IsPrivate() {
			rank += 1
		}
		if ip.Is4() {
			rank += 2
		}
		if rank > bestRank {
			best, bestRank = ip, rank
		}
	}
	if bestRank == 0 {
		return netip.Addr{}, errors.New("no interface has an address that others can reach: give one")
	}
	return best, nil
}

// plain returns the address without IPv4-in-IPv6 dress and zone, so that equal ones compare equal.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

func splitHostPort(text string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, errors.New("is not host:port")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", 0, errors.New("the port is not a number from 0 to 65535")
	}
	return host, uint16(n), nil
}
