package sandbox

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
)

// The addresses are of the block that is set aside for benchmarks.
var (
	block = netip.AddrFrom4([4]byte{198, 18, 0, 0})
	own   = netip.AddrFrom4([4]byte{198, 18, 255, 254}) // of this program
)

const bridge = "pods"

// A Bridge is a network of namespaces:
//
//	this program ── bridge ══ cables 1, 2, … to the pods' namespaces
type Bridge struct{ last int }

// Attach makes a namespace with a cable.
func (b *Bridge) Attach() (p Place, err error) {
	b.last++
	if p.Address, err = nth(block, b.last); err != nil {
		return p, err
	}
	p.namespace, p.plug = fmt.Sprintf("pod%d", b.last), fmt.Sprintf("cable%d", b.last)
	p.Run = []string{"ip", "netns", "exec", p.namespace} // which becomes what it runs: its id is that one's
	for _, args := range []string{
		"netns add " + p.namespace,
		"-n " + p.namespace + " link set lo up",
		"link add " + p.plug + " type veth peer name eth0 netns " + p.namespace,
		"link set " + p.plug + " master " + bridge + " up",
		"-n " + p.namespace + " addr add " + p.Address.String() + "/16 dev eth0",
		"-n " + p.namespace + " link set eth0 up",
	} {
		if err := ip(args); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Detach takes the cable and the namespace away.
func (b *Bridge) Detach(p Place) error {
	if err := ip("link del " + p.plug); err != nil {
		return err
	}
	return ip("netns del " + p.namespace)
}

// Cut pulls the cable out.
func (b *Bridge) Cut(p Place) error { return ip("link set " + p.plug + " down") }

// Mend plugs it in again.
func (b *Bridge) Mend(p Place) error { return ip("link set " + p.plug + " up") }

// Nameserver is the address that resolv.conf names.
func (b *Bridge) Nameserver() string { return net.JoinHostPort(own.String(), "53") }

// Private returns true.
func (b *Bridge) Private() bool { return true }

// ip runs the program of that name.
func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}
