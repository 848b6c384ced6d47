// Package sandbox gives pods a network of their own: each a network namespace with an address,
// all on one bridge, and a resolv.conf that names a DNS server among them.
//
// The whole network is inside namespaces that a program enters by running itself again
// ([Run]); as root it needs no more than CAP_SYS_ADMIN, and without root a user namespace. So it
// touches no interface, address or file of the machine, and leaves nothing: what was made in
// the namespaces ends with the last process in them, however that ends.
//
// Where that is not possible [Loopback] gives addresses on 127.0.0.0/8 in its place, to
// programs that are then told by other means than DNS whom to ask.
package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
)

// A Place is where a pod lives.
type Place struct {
	Address netip.Addr
	Run     []string // what its command line begins with

	namespace, plug string
}

// A Network has places for pods.
type Network interface {
	// Attach makes a place with an address that was not there before.
	Attach() (Place, error)
	// Detach unmakes it. Its processes have ended.
	Detach(Place) error
	// Cut lets all packets of a place vanish without a word, and Mend no longer.
	Cut(Place) error
	Mend(Place) error
	// Nameserver is where a DNS server is expected to listen.
	Nameserver() string
	// Private reports whether pods have a network of their own, in which they ask that server.
	Private() bool
}

// Loopback is a network without namespaces.
type Loopback struct{ last int }

// Attach returns the next address.
func (l *Loopback) Attach() (Place, error) {
	l.last++
	a, err := nth(netip.AddrFrom4([4]byte{127, 18, 0, 0}), l.last)
	return Place{Address: a}, err
}

// Detach does nothing.
func (l *Loopback) Detach(Place) error { return nil }

// Cut is not possible.
func (l *Loopback) Cut(Place) error { return errors.ErrUnsupported }

// Mend is not possible.
func (l *Loopback) Mend(Place) error { return errors.ErrUnsupported }

// Nameserver is any port of 127.0.0.1.
func (l *Loopback) Nameserver() string { return "127.0.0.1:0" }

// Private returns false.
func (l *Loopback) Private() bool { return false }

// places is how many addresses there are, of which each is given once.
const places = 250 * 250

// nth returns the address that is n after the first of a block of 65,536, from 1 on. None ends in
// 0, 254 or 255.
func nth(block netip.Addr, n int) (netip.Addr, error) {
	if n < 1 || n > places {
		return netip.Addr{}, fmt.Errorf("there are %d addresses, not %d", places, n)
	}
	b := block.As4()
	b[2], b[3] = byte((n-1)/250), byte((n-1)%250+1)
	return netip.AddrFrom4(b), nil
}
