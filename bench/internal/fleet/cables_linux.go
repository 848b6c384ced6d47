package fleet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Each node has a namespace and two cables, one for gateways and operators and one for the
// other nodes, so that nodes can be cut off from each other while gateways reach them all.
//
//	this program ── bridge g ══ g1, g2, … in the nodes' namespaces
//	                bridge p ══ p1, p2, …
//
// The addresses are of the block that is set aside for benchmarks.
type cables struct {
	id     string // of this process, in all names
	places []place
}

const (
	gatewayNet = "198.18.0."
	peerNet    = "198.19.0."
	ownHost    = "254"
)

// NamespacesWork reports whether nodes can have namespaces here, and why not.
func NamespacesWork() error {
	c, err := layCables(1)
	if err != nil {
		return err
	}
	return c.remove()
}

func layCables(nodes int) (_ *cables, err error) {
	c := &cables{id: fmt.Sprintf("slc%d", os.Getpid())}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	g, p := c.bridges()
	for _, args := range []string{
		"link add " + g + " type bridge", "link set " + g + " up", "addr add " + gatewayNet + ownHost + "/24 dev " + g,
		"link add " + p + " type bridge", "link set " + p + " up",
	} {
		if err := ip(args); err != nil {
			return nil, err
		}
	}
	for i := range nodes {
		if err := c.lay(i, g, p); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// lay makes the namespace and the cables of node i.
func (c *cables) lay(i int, g, p string) error {
	ns := c.namespace(i)
	c.places = append(c.places, place{
		namespace: ns,
		grpc:      fmt.Sprint(gatewayNet, i+1, ":7070"), admin: fmt.Sprint(gatewayNet, i+1, ":7090"),
		peer: fmt.Sprint(peerNet, i+1, ":7071"), gossip: fmt.Sprint(peerNet, i+1, ":7946"),
	})
	if err := ip("netns add " + ns); err != nil {
		return err
	}
	if err := ip("-n " + ns + " link set lo up"); err != nil {
		return err
	}
	for _, cable := range []struct{ bridge, plug, inside, address string }{
		{g, c.plugOf("g", i), "g", fmt.Sprint(gatewayNet, i+1)},
		{p, c.plugOf("p", i), "p", fmt.Sprint(peerNet, i+1)},
	} {
		for _, args := range []string{
			"link add " + cable.plug + " type veth peer name " + cable.inside + " netns " + ns,
			"link set " + cable.plug + " master " + cable.bridge + " up",
			"-n " + ns + " addr add " + cable.address + "/24 dev " + cable.inside,
			"-n " + ns + " link set " + cable.inside + " up",
		} {
			if err := ip(args); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cables) bridges() (gateways, peers string) { return c.id + "g", c.id + "p" }
func (c *cables) namespace(i int) string            { return fmt.Sprintf("%s-n%d", c.id, i+1) }
func (c *cables) plugOf(bridge string, node int) string {
	return fmt.Sprintf("%s%s%d", c.id, bridge, node+1)
}

// unplug lets all packets of a node vanish without a word.
func (c *cables) unplug(node int, peers, gateways bool) error {
	var errs []error
	if peers {
		errs = append(errs, ip("link set "+c.plugOf("p", node)+" down"))
	}
	if gateways {
		errs = append(errs, ip("link set "+c.plugOf("g", node)+" down"))
	}
	return errors.Join(errs...)
}

func (c *cables) plug(node int) error {
	return errors.Join(ip("link set "+c.plugOf("p", node)+" up"), ip("link set "+c.plugOf("g", node)+" up"))
}

// remove undoes layCables. No process may run in the namespaces any more.
func (c *cables) remove() error {
	var errs []error
	for i := range c.places {
		for _, plug := range []string{c.plugOf("g", i), c.plugOf("p", i)} {
			errs = append(errs, ipIfThere("link del "+plug))
		}
		errs = append(errs, ipIfThere("netns del "+c.namespace(i)))
	}
	g, p := c.bridges()
	errs = append(errs, ipIfThere("link del "+g), ipIfThere("link del "+p))
	return errors.Join(errs...)
}

// ip runs the program of that name.
func ip(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ipIfThere is ip for what may not be there.
func ipIfThere(args string) error {
	err := ip(args)
	if err != nil && (strings.Contains(err.Error(), "Cannot find device") || strings.Contains(err.Error(), "No such file")) {
		return nil
	}
	return err
}
