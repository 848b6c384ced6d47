package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/bench/internal/process"
	"github.com/overten/sluice/bench/internal/sandbox"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Ports of the pods.
const (
	grpcPort   = "7070"
	peerPort   = "7071"
	httpPort   = "7080"
	adminPort  = "7090"
	gossipPort = "7946"
)

// A pod is one life of a member of the set.
type pod struct {
	Pod
	name     string
	place    sandbox.Place
	program  *process.Program // nil: it does not run yet
	admin    *grpc.ClientConn
	probes   Readiness
	started  time.Time
	lost     bool // with its node
	attached bool
}

// Status is how a pod is.
type Status struct {
	Pod
	Name    string
	Address netip.Addr
	Admin   adminv1.AdminServiceClient
	Started time.Time // its process
	Runs    bool
	Log     string
}

// Status tells of all pods, by ordinal.
func (c *Cluster) Status() (all []Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.sorted() {
		s := Status{Pod: p.Pod, Name: p.name, Address: p.place.Address, Started: p.started, Log: c.logOf(p)}
		if p.program != nil {
			s.Runs = !p.program.Ended() && !p.lost
			s.Admin = adminv1.NewAdminServiceClient(p.admin)
		}
		all = append(all, s)
	}
	return all
}

func (c *Cluster) logOf(p *pod) string { return filepath.Join(c.config.Dir, p.name+".log") }

// create gives pods a place, all of them, and then lets them run.
func (c *Cluster) create(ordinals []int) {
	var all []*pod
	for _, i := range ordinals {
		p := &pod{Pod: Pod{Ordinal: i}, name: fmt.Sprintf("sluice-%d", i)}
		var err error
		if p.place, err = c.config.Network.Attach(); err != nil {
			c.fail(fmt.Errorf("%s: %w", p.name, err))
			return
		}
		p.attached = true
		all = append(all, p)
		c.change(func() {
			p.Revision = c.set.Revision
			c.pods[i] = p
			if ill, there := c.ills[i]; there {
				delete(c.ills, i)
				ill.trouble.Until = time.Now().Add(ill.lasts)
				c.dns.Trouble(p.place.Address, ill.trouble)
			}
		})
	}
	for _, p := range all {
		if err := c.launch(p); err != nil {
			c.fail(fmt.Errorf("%s: %w", p.name, err))
			return
		}
	}
}

// launch starts a pod's process, and the probe of its readiness.
func (c *Cluster) launch(p *pod) error {
	admin, err := grpc.NewClient("passthrough:///"+p.at(adminPort), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return err
	}
	line := append(append(p.place.Run, c.config.Binaries[p.Revision], "serve"), c.args(p)...)
	program, err := process.Launch(line, os.Environ(), c.logOf(p))
	if err != nil {
		return errors.Join(err, admin.Close())
	}
	c.config.Say("%s comes with address %s, revision %s", p.name, p.place.Address, p.Revision)
	c.change(func() { p.program, p.admin, p.started = program, admin, time.Now() })
	c.tasks.Go(func() { c.probe(p) })
	c.tasks.Go(func() { c.watch(p) })
	return nil
}

func (p *pod) at(port string) string { return net.JoinHostPort(p.place.Address.String(), port) }

func (c *Cluster) args(p *pod) []string {
	args := []string{
		"--name", p.name, "--grpc", p.at(grpcPort), "--http", p.at(httpPort), "--peer", p.at(peerPort),
		"--gossip", p.at(gossipPort), "--admin", p.at(adminPort), "--join", c.seeds(),
		"--policy", filepath.Join(c.config.Dir, policyFile), "--key-file", filepath.Join(c.config.Dir, keyFile), "--log-format", "json",
	}
	if c.config.MinMembers > 0 {
		args = append(args, "--min-members", strconv.Itoa(c.config.MinMembers))
	}
	return args
}

// seeds is what a node joins by: the Service's name, or where it cannot ask for that its
// addresses at this moment.
func (c *Cluster) seeds() string {
	if c.config.Network.Private() {
		return net.JoinHostPort(Gossip, gossipPort)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, p := range c.sorted() {
		all = append(all, p.at(gossipPort))
	}
	return strings.Join(all, ",")
}

// probe asks a pod whether it is ready, as long as it runs.
func (c *Cluster) probe(p *pod) {
	web := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ticker := time.NewTicker(c.config.Probe)
	defer ticker.Stop()
	for {
		select {
		case <-c.open.Done():
			return
		case <-p.program.Done:
			return
		case <-ticker.C:
		}
		ok, _ := ReadyPage(c.open, web, p.place.Address)
		c.observe(p, ok)
	}
}

// ReadyPage asks a pod's page /readyz, which says why if it is not ready.
func ReadyPage(ctx context.Context, web *http.Client, address netip.Addr) (ready bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address.String(), adminPort)+"/readyz", http.NoBody)
	if err != nil {
		return false, err
	}
	resp, err := web.Do(req)
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}

// observe takes what a probe has found.
func (c *Cluster) observe(p *pod, ok bool) {
	c.mu.Lock()
	p.probes.Observe(ok)
	before, after := p.Ready, p.probes.Ready && !p.Terminating && !p.lost
	c.mu.Unlock()
	if before == after {
		return
	}
	c.change(func() { p.Ready, p.ReadySince = after, c.now() })
	if after {
		c.config.Say("%s is ready, %s after it started", p.name, time.Since(p.started).Round(10*time.Millisecond))
	} else {
		c.config.Say("%s is no longer ready", p.name)
	}
}

// watch notes that a pod has ended.
func (c *Cluster) watch(p *pod) {
	select {
	case <-c.open.Done():
	case <-p.program.Done:
		c.mu.Lock()
		wanted := p.Terminating || p.lost
		c.mu.Unlock()
		if !wanted {
			how := p.program.Exit()
			if how == nil {
				how = errors.New("as if all were well")
			}
			c.fail(fmt.Errorf("%s ended by itself: %w; see %s", p.name, how, c.logOf(p)))
		}
	}
}

func (c *Cluster) fail(err error) {
	c.config.Say("%v", err)
	c.change(func() { c.failed = errors.Join(c.failed, err) })
}

// terminate ends the pod of an ordinal as the kubelet does. It returns when that has begun.
func (c *Cluster) terminate(ordinal int) {
	var p *pod
	var lost bool
	var program *process.Program
	c.change(func() {
		p = c.pods[ordinal]
		p.Terminating, p.Ready = true, false
		lost, program = p.lost, p.program
	})
	began := time.Now()
	if lost || program == nil {
		c.forget(p)
		return
	}
	c.config.Say("SIGTERM to %s", p.name)
	_ = program.Signal(syscall.SIGTERM) // that it has ended is seen below
	c.tasks.Go(func() {
		grace := time.NewTimer(c.config.Grace)
		defer grace.Stop()
		select {
		case <-c.open.Done():
			return
		case <-program.Done:
		case <-grace.C:
			c.config.Say("SIGKILL to %s, which has not ended", p.name)
			_ = program.Signal(syscall.SIGKILL)
			<-program.Done
		}
		if err := program.Exit(); err != nil {
			c.fail(fmt.Errorf("%s, told to end: %w; see %s", p.name, err, c.logOf(p)))
		}
		c.config.Say("%s has ended, after %s", p.name, time.Since(began).Round(10*time.Millisecond))
		c.forget(p)
	})
}

// forget takes a pod away that has ended.
func (c *Cluster) forget(p *pod) {
	if err := p.remove(c.config.Network); err != nil {
		c.fail(err)
	}
	c.change(func() { delete(c.pods, p.Ordinal) })
}

// remove kills the process, if it still runs, and undoes the pod's place.
func (p *pod) remove(n sandbox.Network) error {
	var errs []error
	if p.program != nil {
		if err := p.program.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-p.program.Done
		errs = append(errs, p.admin.Close())
	}
	if p.attached {
		p.attached = false
		errs = append(errs, n.Detach(p.place))
	}
	return errors.Join(errs...)
}

// Evict ends a pod as an eviction does: it comes again elsewhere.
func (c *Cluster) Evict(ordinal int) { c.terminate(ordinal) }

// Lose kills a pod with its node: it ends without a word, and stays in the set, not ready, until
// it is deleted.
func (c *Cluster) Lose(ordinal int) error {
	var p *pod
	c.change(func() {
		p = c.pods[ordinal]
		p.lost, p.Ready = true, false
	})
	c.config.Say("SIGKILL to %s, whose node is lost", p.name)
	if err := p.program.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.program.Done
	return nil
}

// Cut lets all packets of a pod vanish.
func (c *Cluster) Cut(ordinal int) error {
	c.mu.Lock()
	p := c.pods[ordinal]
	c.mu.Unlock()
	return c.config.Network.Cut(p.place)
}

// Mend undoes Cut.
func (c *Cluster) Mend(ordinal int) error {
	c.mu.Lock()
	p := c.pods[ordinal]
	c.mu.Unlock()
	return c.config.Network.Mend(p.place)
}
