// Package fleet runs nodes of Sluice as processes of their own, and does to them what
// happens to machines: it stops, kills, pauses and restarts them and, where each has a
// network namespace, cuts their cables.
//
// All that it starts ends with it: processes by their ids, namespaces by their names.
package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Config says which nodes there may be.
type Config struct {
	Binary     string // of sluice
	Dir        string // for logs and what nodes read; must exist
	Nodes      int    // that may run at a time
	Limit      uint32 // units in every window of the only tier
	Window     time.Duration
	Concurrent int           // runs of a key
	MaxKeys    int           // 0: the node's default
	Policy     string        // a whole policy file in place of that one tier; "": none
	Env        []string      // further variables, NAME=value
	MinMembers int           // 0: the node's default
	Namespaces bool          // each node in a network namespace of its own: needs root on Linux
	Ready      time.Duration // how long a node may take to start
}

// A Fleet is the nodes of one cluster, running or not.
type Fleet struct {
	Nodes  []*Node
	config Config
	cables *cables // nil: all on loopback
}

// New prepares nodes n1, n2, … of which none runs yet.
func New(c Config) (_ *Fleet, err error) {
	f := &Fleet{config: c}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	policy := c.Policy
	if policy == "" {
		policy = fmt.Sprintf("tiers:\n  chaos: {windows: [{limit: %d, per: %s}], concurrent: %d}\ndefault_tier: chaos\n", c.Limit, c.Window, c.Concurrent)
	}
	for name, content := range map[string]string{policyFile: policy, keyFile: rand.Text() + "\n"} { // so that it is no other fleet's cluster, wherever that listens
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(content), 0o600); err != nil {
			return f, err
		}
	}
	var places []place
	if c.Namespaces {
		if f.cables, err = layCables(c.Nodes); err != nil {
			return f, err
		}
		places = f.cables.places
	} else if places, err = loopback(c.Nodes); err != nil {
		return f, err
	}
	for i, p := range places {
		f.Nodes = append(f.Nodes, &Node{Name: fmt.Sprintf("n%d", i+1), place: p, fleet: f, number: i})
	}
	return f, nil
}

const (
	policyFile = "policy.yaml"
	keyFile    = "key"
)

// Close kills what runs and undoes what New did. Logs stay.
func (f *Fleet) Close() error {
	var errs []error
	for _, n := range f.Nodes {
		errs = append(errs, n.Kill())
		if n.admin != nil {
			errs = append(errs, n.admin.Close())
		}
	}
	if f.cables != nil {
		errs = append(errs, f.cables.remove())
	}
	return errors.Join(errs...)
}

// Answering returns the nodes that run and can be reached, as far as nothing was done to them.
func (f *Fleet) Answering() (nodes []*Node) {
	for _, n := range f.Nodes {
		if n.answers.Load() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// CPU is the processor time that all nodes have had. It is not to be asked while nodes are
// started or ended.
func (f *Fleet) CPU() (sum time.Duration) {
	for _, n := range f.Nodes {
		sum += n.cpu()
	}
	return sum
}

// Dead names a node that ended by itself, and how; "" if none did.
func (f *Fleet) Dead() string {
	for _, n := range f.Nodes {
		if n.answers.Load() && n.ended() {
			return fmt.Sprintf("%s ended by itself: %v; see %s", n.Name, n.program.Exit(), n.logFile())
		}
	}
	return ""
}

// settlePoll is how often nodes are asked whether they agree.
const settlePoll = 50 * time.Millisecond

// Settle waits until all nodes that answer are members of one view, agree, and every
// partition has a holder, the one that the view names, and a copy. The error says what is
// amiss when ctx ends.
func (f *Fleet) Settle(ctx context.Context) error {
	for {
		amiss := f.amiss(ctx)
		if amiss == nil {
			return nil
		}
		if dead := f.Dead(); dead != "" {
			return errors.New(dead)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the nodes do not agree: %w", amiss)
		case <-time.After(settlePoll):
		}
	}
}

// amiss is what keeps the nodes from being settled; nil: nothing.
func (f *Fleet) amiss(ctx context.Context) error {
	var members []Member
	for _, n := range f.Answering() {
		members = append(members, Member{Name: n.Name, Admin: n.Admin()})
	}
	return Amiss(ctx, members)
}

// A Member is a node that can be asked what it sees.
type Member struct {
	Name  string
	Admin adminv1.AdminServiceClient
}

// ErrRaw is that all members have one view and hold what is their own, but have not for all
// partitions a copy, or a permit, yet.
var ErrRaw = errors.New("held, but not yet for good")

// Amiss is what keeps these from being all members of one settled cluster, as Settle
// understands it; nil: nothing. It is ErrRaw only if nothing else is.
func Amiss(ctx context.Context, members []Member) error {
	var view uint64
	var raw error
	for _, n := range members {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		resp, err := n.Admin.Members(ask, &adminv1.MembersRequest{})
		cancel()
		if err != nil {
			return fmt.Errorf("%s does not tell: %w", n.Name, err)
		}
		if err := disagreement(resp, len(members)); errors.Is(err, ErrRaw) {
			raw = fmt.Errorf("%s says: %w", n.Name, err)
		} else if err != nil {
			return fmt.Errorf("%s says: %w", n.Name, err)
		}
		if id := resp.GetMembers()[0].GetViewId(); view == 0 {
			view = id
		} else if id != view {
			return fmt.Errorf("%s goes by view %x, %s by %x", n.Name, id, members[0].Name, view)
		}
	}
	return raw
}

// disagreement is what a node's answer about a cluster of so many nodes lacks.
func disagreement(r *adminv1.MembersResponse, nodes int) error {
	if len(r.GetMembers()) != nodes {
		return fmt.Errorf("there are %d members, of %d nodes", len(r.GetMembers()), nodes)
	}
	if !r.GetAgree() {
		return errors.New("members do not agree")
	}
	held := uint32(0)
	var raw error
	for _, m := range r.GetMembers() {
		held += m.GetHeld()
		switch {
		case m.GetError() != "":
			return fmt.Errorf("%s does not answer: %s", m.GetName(), m.GetError())
		case m.GetState() != adminv1.NodeState_NODE_STATE_SERVING:
			return fmt.Errorf("%s is %s", m.GetName(), m.GetState())
		case int(m.GetViewMembers()) != nodes:
			return fmt.Errorf("%s has a view of %d members, of %d nodes", m.GetName(), m.GetViewMembers(), nodes)
		case m.GetHeld() != m.GetOwned():
			return fmt.Errorf("%s owns %d partitions and holds %d", m.GetName(), m.GetOwned(), m.GetHeld())
		case m.GetUnsent() > 0:
			return fmt.Errorf("%s has counts of %d former holdings that nobody has taken over", m.GetName(), m.GetUnsent())
		case m.GetWaiting() > 0:
			raw = fmt.Errorf("%w: %s waits with %d partitions", ErrRaw, m.GetName(), m.GetWaiting())
		case m.GetUncopied() > 0 && nodes > 1:
			raw = fmt.Errorf("%w: %s holds %d partitions without a copy", ErrRaw, m.GetName(), m.GetUncopied())
		}
	}
	if held != r.GetPartitions() {
		return fmt.Errorf("%d of %d partitions are held", held, r.GetPartitions())
	}
	return raw
}
