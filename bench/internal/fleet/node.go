package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/bench/internal/process"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// A place is where a node lives: its addresses, and its namespace or "".
type place struct {
	grpc, admin, peer, gossip string
	namespace                 string
}

// A Node is a node that runs, or did, or will.
type Node struct {
	Name   string
	number int
	place  place
	fleet  *Fleet

	answers atomic.Bool      // it runs, and nothing was done to it
	program *process.Program // nil: it never ran
	spent   time.Duration    // processor time of its former lives
	admin   *grpc.ClientConn
}

// Address is where the node answers gateways.
func (n *Node) Address() string { return n.place.grpc }

// AdminAddress is where the node answers operators, by gRPC and by HTTP.
func (n *Node) AdminAddress() string { return n.place.admin }

// Admin is the operators' service of the node.
func (n *Node) Admin() adminv1.AdminServiceClient {
	return adminv1.NewAdminServiceClient(n.admin)
}

// Answers reports whether the node runs and can be reached, as far as nothing was done to it.
func (n *Node) Answers() bool { return n.answers.Load() }

func (n *Node) logFile() string { return filepath.Join(n.fleet.config.Dir, n.Name+".log") }

// Start starts the node, and returns when it has met the others, or is alone: when it
// serves, or refuses as it sees too few. That partitions are its own is another matter: see
// Fleet.Settle.
func (n *Node) Start(ctx context.Context) error {
	if err := n.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.fleet.config.Ready)
	defer cancel()
	for {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		state, err := n.state(ask)
		cancel()
		if state == adminv1.NodeState_NODE_STATE_SERVING || state == adminv1.NodeState_NODE_STATE_REFUSING {
			n.answers.Store(true)
			return nil
		}
		select {
		case <-n.program.Done:
			return fmt.Errorf("%s ended as it started: %w; see %s", n.Name, n.program.Exit(), n.logFile())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %v: %w", n.Name, n.fleet.config.Ready, state, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// launch starts the process.
func (n *Node) launch() error {
	if !n.ended() {
		return fmt.Errorf("%s runs already", n.Name)
	}
	if n.admin == nil {
		var err error
		if n.admin, err = grpc.NewClient("passthrough:///"+n.place.admin,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second,
			})); err != nil {
			return err
		}
	}
	line := append([]string{n.fleet.config.Binary}, n.args()...)
	if n.place.namespace != "" {
		line = append([]string{"ip", "netns", "exec", n.place.namespace}, line...) // which becomes the node itself: its id is the node's
	}
	host, _, _ := net.SplitHostPort(n.place.grpc)
	// In the environment, as an earlier build has no such flag.
	env := append(os.Environ(), "SLUICE_HTTP="+net.JoinHostPort(host, "0"))
	program, err := process.Launch(line, append(env, n.fleet.config.Env...), n.logFile())
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	if n.program != nil {
		n.spent += n.program.CPU()
	}
	n.program = program
	return nil
}

func (n *Node) args() []string {
	c := n.fleet.config
	var seeds []string
	for _, other := range n.fleet.Nodes {
		if other != n {
			seeds = append(seeds, other.place.gossip)
		}
	}
	args := []string{
		"serve", "--name", n.Name, "--grpc", n.place.grpc, "--admin", n.place.admin,
		"--peer", n.place.peer, "--gossip", n.place.gossip, "--bootstrap-after", "1s",
		"--policy", filepath.Join(c.Dir, policyFile), "--key-file", filepath.Join(c.Dir, keyFile), "--log-format", "json",
	}
	if len(seeds) > 0 {
		args = append(args, "--join", strings.Join(seeds, ","))
	}
	if c.MaxKeys > 0 {
		args = append(args, "--max-keys", strconv.Itoa(c.MaxKeys))
	}
	if c.MinMembers > 0 {
		args = append(args, "--min-members", strconv.Itoa(c.MinMembers))
	}
	return args
}

// cpu is the processor time that the node has had.
func (n *Node) cpu() time.Duration {
	if n.program == nil {
		return 0
	}
	return n.spent + n.program.CPU()
}

// PID is the id of the node's process.
func (n *Node) PID() int { return n.program.PID() }

// LogFile is where what the node writes is kept.
func (n *Node) LogFile() string { return n.logFile() }

// state asks the node what it is about.
func (n *Node) state(ctx context.Context) (adminv1.NodeState, error) {
	resp, err := n.Admin().Members(ctx, &adminv1.MembersRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return 0, err
	}
	for _, m := range resp.GetMembers() {
		if m.GetName() == n.Name {
			return m.GetState(), nil
		}
	}
	return 0, errors.New("it does not list itself")
}

func (n *Node) ended() bool { return n.program == nil || n.program.Ended() }

// Stop asks the node to leave, and waits until it has. The error says how it ended, if not well.
func (n *Node) Stop(ctx context.Context) error {
	n.answers.Store(false)
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.program.Done:
		if err := n.program.Exit(); err != nil {
			return fmt.Errorf("%s, asked to leave: %w; see %s", n.Name, err, n.logFile())
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s, asked to leave, has not: %w", n.Name, ctx.Err())
	}
}

// Kill ends the node at once, and waits until the system has taken it away. A node that
// does not run is left alone.
func (n *Node) Kill() error {
	n.answers.Store(false)
	if n.ended() {
		return nil
	}
	if err := n.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-n.program.Done
	return nil
}

// Pause keeps the node from running until Resume. It returns when the node has stopped.
func (n *Node) Pause() error {
	n.answers.Store(false)
	if err := n.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return process.AwaitStopped(n.PID())
}

// Resume lets a paused node run on.
func (n *Node) Resume() error {
	if err := n.signal(syscall.SIGCONT); err != nil {
		return err
	}
	n.answers.Store(true)
	return nil
}

func (n *Node) signal(s os.Signal) error {
	if n.program == nil {
		return fmt.Errorf("%s does not run", n.Name)
	}
	if err := n.program.Signal(s); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// CutPeers unplugs the node from the other nodes; gateways still reach it.
func (n *Node) CutPeers() error {
	n.answers.Store(false)
	return n.fleet.cables.unplug(n.number, true, false)
}

// Cut unplugs the node from everybody.
func (n *Node) Cut() error {
	n.answers.Store(false)
	return n.fleet.cables.unplug(n.number, true, true)
}

// Mend plugs the node in again.
func (n *Node) Mend() error {
	if err := n.fleet.cables.plug(n.number); err != nil {
		return err
	}
	n.answers.Store(true)
	return nil
}
