package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/overten/sluice/bench/internal/fleet"
	"github.com/overten/sluice/bench/internal/nameserver"
	"github.com/overten/sluice/bench/internal/sandbox"
)

// Config says what runs where.
type Config struct {
	Network    sandbox.Network
	Binaries   map[string]string // of sluice, by revision
	Dir        string            // for logs and what nodes read; must exist
	Policy     string            // the policy file
	MinMembers int
	Grace      time.Duration // from SIGTERM to SIGKILL
	Probe      time.Duration // between two readiness probes of a pod
	Lag        time.Duration // until Services know what has changed
	Say        func(format string, args ...any)
}

// A Cluster is a StatefulSet with its pods and Services.
type Cluster struct {
	config Config
	began  time.Time
	dns    *nameserver.Server
	open   context.Context // ends when the cluster is closed
	stop   context.CancelFunc
	tasks  sync.WaitGroup
	wake   chan struct{}

	mu        sync.Mutex // guards what follows
	set       Set
	pods      map[int]*pod
	endpoints Endpoints
	ills      map[int]ill
	changed   chan struct{} // closed, and another one made, when something changes
	failed    error
}

// An ill is what is wrong with DNS for a pod to be, from when it comes.
type ill struct {
	trouble nameserver.Trouble
	lasts   time.Duration
}

const (
	policyFile = "policy.yaml"
	keyFile    = "key"
)

// New makes a cluster without pods.
func New(c Config) (*Cluster, error) {
	for name, content := range map[string]string{policyFile: c.Policy, keyFile: "a secret of a cluster that lives for a minute\n"} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	k := &Cluster{
		config: c, began: time.Now(), wake: make(chan struct{}, 1), pods: map[int]*pod{},
		endpoints: Endpoints{Lag: c.Lag}, ills: map[int]ill{}, changed: make(chan struct{}),
	}
	var err error
	if k.dns, err = nameserver.Listen(c.Network.Nameserver(), k.resolve); err != nil {
		return nil, err
	}
	k.open, k.stop = context.WithCancel(context.Background())
	k.tasks.Go(k.control)
	return k, nil
}

// Close kills what runs and undoes what was made. Logs stay.
func (c *Cluster) Close() error {
	c.stop()
	c.tasks.Wait()
	var errs []error
	for _, p := range c.pods {
		errs = append(errs, p.remove(c.config.Network))
	}
	return errors.Join(append(errs, c.dns.Close())...)
}

func (c *Cluster) now() time.Duration { return time.Since(c.began) }

func (c *Cluster) resolve(name string) ([]netip.Addr, bool) {
	return Resolve(c.known(), name)
}

// known is what Services know of the pods.
func (c *Cluster) known() []Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endpoints.At(c.now())
}

// Target is the Service with the pods that are ready, as a gateway's resolver is told.
func (c *Cluster) Target() string {
	return fmt.Sprintf("dns://%s/%s.%s:%s", c.dns.Address(), Service, strings.TrimSuffix(Domain, "."), grpcPort)
}

// Dial connects to any pod that is ready, as connections to a ClusterIP do.
func (c *Cluster) Dial(ctx context.Context, _ string) (net.Conn, error) {
	serving := slices.DeleteFunc(slices.Clone(c.known()), func(e Endpoint) bool { return !e.Serving })
	if len(serving) == 0 {
		return nil, errors.New("no pod is ready")
	}
	to := serving[rand.IntN(len(serving))]
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(to.Address.String(), grpcPort))
}

// change does something with what the lock guards, and lets the controller look at it.
func (c *Cluster) change(do func()) {
	c.mu.Lock()
	do()
	c.publish()
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// publish tells Services, and whoever waits, what there is. The lock is held.
func (c *Cluster) publish() {
	var all []Endpoint
	for _, p := range c.sorted() {
		all = append(all, Endpoint{Pod: p.name, Address: p.place.Address, Serving: p.Ready && !p.Terminating})
	}
	c.endpoints.Publish(c.now(), all)
	c.tell()
}

func (c *Cluster) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Cluster) sorted() []*pod {
	return slices.SortedFunc(maps.Values(c.pods), func(a, b *pod) int { return a.Ordinal - b.Ordinal })
}

// control is the controller's loop.
func (c *Cluster) control() {
	const look = 50 * time.Millisecond // as being available is a matter of time
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		c.mu.Lock()
		step := c.set.Next(c.now(), c.seen())
		c.tell()
		c.mu.Unlock()
		for _, i := range step.Delete {
			c.terminate(i)
		}
		c.create(step.Create)
		select {
		case <-c.open.Done():
			return
		case <-c.wake:
		case <-ticker.C:
		}
	}
}

// seen is what the controller sees. The lock is held.
func (c *Cluster) seen() (all []Pod) {
	for _, p := range c.sorted() {
		all = append(all, p.Pod)
	}
	return all
}

// Apply changes what is wanted.
func (c *Cluster) Apply(change func(*Set)) {
	c.change(func() { change(&c.set) })
}

// Sicken lets DNS be wrong for the pod of an ordinal, when it comes the next time, for so long.
func (c *Cluster) Sicken(ordinal int, t nameserver.Trouble, lasts time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ills[ordinal] = ill{trouble: t, lasts: lasts}
}

// SickenAll lets DNS be wrong for all pods that there are, from now on, for so long.
func (c *Cluster) SickenAll(t nameserver.Trouble, lasts time.Duration) {
	t.Until = time.Now().Add(lasts)
	for _, s := range c.Status() {
		c.dns.Trouble(s.Address, t)
	}
}

// Await waits until something is so, and fails if a pod ends by itself.
func (c *Cluster) Await(ctx context.Context, what string, so func() bool) error {
	for {
		c.mu.Lock()
		changed, failed := c.changed, c.failed
		c.mu.Unlock()
		if failed != nil {
			return failed
		}
		if so() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within the time for it", what)
		case <-changed:
		}
	}
}

// Rest waits until the controller has nothing left to do.
func (c *Cluster) Rest(ctx context.Context) error {
	return c.Await(ctx, "the StatefulSet is as it should be", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.set.Done(c.now(), c.seen())
	})
}

// Failed is why a pod ended by itself.
func (c *Cluster) Failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Members are the pods that run and are to stay.
func (c *Cluster) Members() (members []fleet.Member) {
	for _, s := range c.Status() {
		if s.Runs && !s.Terminating {
			members = append(members, fleet.Member{Name: s.Name, Admin: s.Admin})
		}
	}
	return members
}
