package gossip

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// A delegate is what the gossip underneath calls, mostly with its own lock held: nothing here blocks
// or calls back.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
	_ memberlist.MergeDelegate = (*delegate)(nil)
)

// accept decodes a node's metadata if it may be a member. If not, it says so in the log.
func (d *delegate) accept(n *memberlist.Node) (Meta, error) {
	d.g.mu.Lock()
	ours := d.g.meta
	d.g.mu.Unlock()
	m, err := decodeMeta(n.Meta)
	name := m.Name
	if err == nil {
		err = incompatible(ours, m)
	} else {
		name = n.Name
	}
	if err != nil {
		d.g.journal.refused(n.Name, "member", name, "addr", n.Address(), "reason", err.Error())
	}
	return m, err
}

// NotifyAlive refuses a node that cannot be a member, however news of it came here.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := d.accept(n)
	if err != nil {
		return err
	}
	d.g.roster.heard(n.Name, m, addrOf(n))
	return nil
}

// NotifyMerge refuses to exchange members with a node of another kind of cluster.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	boots := make(map[string]uint64)
	for _, n := range nodes {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			if m, err := decodeMeta(n.Meta); err == nil {
				boots[m.Name] = max(boots[m.Name], m.Boot)
			}
			continue
		}
		if _, err := d.accept(n); err != nil {
			return fmt.Errorf("%s is refused: %w", n.Address(), err)
		}
	}
	for name, boot := range boots {
		d.g.roster.boot(name, boot)
	}
	return nil
}

func (d *delegate) NotifyJoin(n *memberlist.Node) { d.present(n) }

func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.present(n) }

func (d *delegate) NotifyLeave(n *memberlist.Node) { d.g.roster.gone(n.Name, time.Now()) }

func (d *delegate) present(n *memberlist.Node) {
	// NotifyAlive has let it pass.
	if m, err := decodeMeta(n.Meta); err == nil {
		d.g.roster.present(n.Name, m, addrOf(n))
	}
}

// NodeMeta returns our own metadata; that it fits was checked when it was set.
func (d *delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.encoded
}

// NotifyMsg and GetBroadcasts are for messages of our own, which there are none of.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts see NotifyMsg.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState gives a member that exchanges all it knows with us the boot numbers that we know.
func (d *delegate) LocalState(bool) []byte { return d.g.roster.encodeBoots() }

// MergeRemoteState takes in the other's. It comes last of what an exchange brings.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if err := d.g.roster.mergeBoots(b); err != nil {
		d.g.journal.debug("boot numbers of a member are ignored", "error", err.Error())
	}
	d.g.roster.wasTold()
}

func addrOf(n *memberlist.Node) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(plain(ip), n.Port)
}
