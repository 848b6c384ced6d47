package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/overten/sluice/cluster"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	"github.com/overten/sluice/server/metrics"
)

// policyPoll is how often the policy file is looked at.
const policyPoll = time.Second

// policyFile notices that a file is another than the one that was read last. It asks the file
// system for the file's number, size and time, following symbolic links: so it sees a file that was
// written, one that was put in the place of another, and a link, of whichever folder above, that was
// turned to another, as a ConfigMap's is. Notifications would have to be asked for on each of those,
// and do not come from every file system.
type policyFile struct {
	path   string
	read   fs.FileInfo // of what was read last; nil: it could not be read
	last   fs.FileInfo // at the last look
	unread string      // why it could not be read; "": it could
}

// load reads the file. One that cannot be read, as for want of rights or of descriptors, is read
// again at the next look: what lets it be read need not change what the file system tells of it.
func (f *policyFile) load() (*policy.Policy, error) {
	info, err := os.Stat(f.path)
	if err == nil { // else Load says what is wrong
		f.read = info
	}
	p, err := policy.Load(f.path)
	f.unread = ""
	if wrong := (*policy.Error)(nil); err != nil && !errors.As(err, &wrong) {
		f.read, f.unread = nil, err.Error()
	}
	return p, err
}

// changed looks at the file, and tells whether it is time to read it: it is another than was read,
// and the same as at the last look, so that it is not read while it is being written. A file that
// cannot be looked at, as one that is just being replaced, is none.
func (f *policyFile) changed() bool {
	info, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	settled := same(info, f.last)
	f.last = info
	return settled && !same(info, f.read)
}

func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// firstPolicy finds the policy that a node starts with.
func (n *Node) firstPolicy(c *Config) (err error) {
	switch {
	case c.PolicyFile != "":
		n.policyFile = &policyFile{path: c.PolicyFile}
		if c.Policy, err = n.policyFile.load(); err != nil {
			return err
		}
	case c.Policy == nil:
		c.Policy = policy.Default()
	}
	n.policy = c.Policy
	n.metrics.SetPolicy(c.Policy.Fingerprint())
	return nil
}

// followPolicy reads the policy file whenever it has changed, until ctx ends.
func (n *Node) followPolicy(ctx context.Context) {
	ticker := time.NewTicker(policyPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.setting.Lock()
			n.lookLocked()
			n.setting.Unlock()
		}
	}
}

// ReloadPolicy reads the policy file again, if there is one, whether it has changed or not. If
// something is wrong in it all of it is refused, and the node goes by the old one.
func (n *Node) ReloadPolicy() {
	if n.policyFile == nil {
		return
	}
	n.setting.Lock()
	defer n.setting.Unlock()
	p, err := n.policyFile.load()
	n.reloadedLocked(p, err)
}

// lookLocked reads the policy file if it is time to. That it cannot be read is told once, as long
// as it is for the same reason.
func (n *Node) lookLocked() {
	if !n.policyFile.changed() {
		return
	}
	told := n.policyFile.unread
	if p, err := n.policyFile.load(); err == nil || err.Error() != told {
		n.reloadedLocked(p, err)
	}
}

// reloadedLocked goes by what was read, and tells what came of it.
func (n *Node) reloadedLocked(p *policy.Policy, err error) {
	switch {
	case err != nil:
		n.metrics.Reloaded(metrics.Refused)
		n.log.Error("the policy file is refused: the old policy stays", "policy", n.policy.Fingerprint(), "error", err.Error())
	case p.Fingerprint() == n.policy.Fingerprint():
		n.metrics.Reloaded(metrics.Unchanged)
		n.log.Info("the policy file means what it meant", "policy", p.Fingerprint())
	default:
		before := n.policy.Fingerprint()
		n.setPolicyLocked(p)
		n.metrics.Reloaded(metrics.Applied)
		n.log.Info("the policy has changed", "policy", p.Fingerprint(), "before", before,
			"tiers", len(p.Tiers()), "known_keys", p.Keys(), "overrides", p.Overrides())
	}
}

// SetPolicy has the node go by p from now on. Calls under way are decided by the old policy or by
// the new, each by one of them; what was counted stays.
func (n *Node) SetPolicy(p *policy.Policy) {
	n.setting.Lock()
	defer n.setting.Unlock()
	n.setPolicyLocked(p)
}

func (n *Node) setPolicyLocked(p *policy.Policy) {
	n.policy = p
	if n.cluster != nil {
		n.cluster.SetRules(rulesOf(p)) // first: what this node asks of itself it must know
	}
	n.rpc.SetPolicy(p)
	if n.admin != nil {
		n.admin.SetPolicy(p)
	}
	n.metrics.SetPolicy(p.Fingerprint())
}

// rulesOf is what the cluster is told of a policy.
func rulesOf(p *policy.Policy) cluster.Rules {
	return cluster.Rules{
		Policy: p.Fingerprint(), Horizon: p.Longest(), LargestLimit: p.LargestLimit(),
		Tier: func(ref string) *limiter.Tier {
			tier, _ := p.ByRef(ref)
			return tier
		},
	}
}
