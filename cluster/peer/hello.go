package peer

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// Protocol is the version of what nodes say to each other. Nodes of two versions refuse each
// other; what only adds fields needs no other version.
const Protocol = 1

// maxName bounds the names that are taken from others, in bytes.
const maxName = 256

// hello returns what this node begins a stream with.
func (t *Transport) hello(to string) *peerv1.Hello {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &peerv1.Hello{
		Protocol: Protocol, Name: t.Name, Boot: t.boot, Cluster: t.Cluster, To: to, Seen: t.seen[to], Signs: true,
	}
}

// greet judges the hello of another node, and notes what it tells. An error says why the
// two cannot talk. Of an earlier life than is known already older is true: that one has to
// be told by a hello of ours.
func (t *Transport) greet(h *peerv1.Hello) (older bool, err error) {
	if err := t.fits(h); err != nil {
		return false, err
	}
	t.mu.Lock()
	boot := t.boot
	if t.seen[h.GetName()] < h.GetBoot() {
		t.see(h.GetName(), h.GetBoot())
	}
	older = t.seen[h.GetName()] > h.GetBoot()
	t.mu.Unlock()
	if boot != 0 && h.GetSeen() > boot {
		t.Handler.Newer(h.GetSeen())
	}
	return older, nil
}

// maxSeen bounds how many names are remembered.
const maxSeen = 4096

// see notes a boot. t.mu is held.
func (t *Transport) see(name string, boot uint64) {
	for other := range t.seen {
		if len(t.seen) < maxSeen {
			break
		}
		if t.nodes[other] == nil {
			delete(t.seen, other)
		}
	}
	t.seen[name] = boot
}

// fits tells what is wrong with a hello.
func (t *Transport) fits(h *peerv1.Hello) error {
	refuse := func(format string, args ...any) error {
		return status.Error(codes.FailedPrecondition, fmt.Sprintf(format, args...))
	}
	switch {
	case h == nil:
		return status.Error(codes.InvalidArgument, "hello is missing")
	case h.GetProtocol() != Protocol:
		return refuse("the protocol version differs: ours is %d, theirs %d", Protocol, h.GetProtocol())
	case h.GetCluster() != t.Cluster:
		return refuse("the key file differs: the fingerprint of ours is %016x, of theirs %016x", t.Cluster, h.GetCluster())
	case h.GetName() == "" || len(h.GetName()) > maxName || h.GetBoot() == 0:
		return status.Error(codes.InvalidArgument, "hello.name or hello.boot is missing")
	case h.GetName() == t.Name:
		t.mu.Lock()
		boot := t.boot
		t.mu.Unlock()
		if boot != 0 && h.GetBoot() > boot {
			t.Handler.Newer(h.GetBoot())
		}
		return refuse("there are two nodes named %q", t.Name)
	case h.GetTo() != t.Name:
		return refuse("this is node %q, not %q", t.Name, h.GetTo())
	}
	return nil
}
