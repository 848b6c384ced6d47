package fleet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// TestMain is also the node that the tests run: one that is a cluster of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		return
	}
	os.Exit(m.Run())
}

type admin struct {
	adminv1.UnimplementedAdminServiceServer
	name string
}

func (a admin) Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	r := settled(1)
	r.Members[0].Name = a.name
	return r, nil
}

func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	address, name := flags.String("admin", "", ""), flags.String("name", "", "")
	for _, other := range []string{"grpc", "peer", "gossip", "join", "bootstrap-after", "log-format"} {
		flags.String(other, "", "")
	}
	policy, key := flags.String("policy", "", ""), flags.String("key-file", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, file := range []string{*policy, *key} {
		if _, err := os.Stat(file); err != nil {
			return err
		}
	}
	lis, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	adminv1.RegisterAdminServiceServer(s, admin{name: *name})
	go s.Serve(lis)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	<-ctx.Done()
	s.Stop()
	return nil
}

// settled is the answer of a cluster of so many nodes that agree.
func settled(nodes int) *adminv1.MembersResponse {
	r := &adminv1.MembersResponse{Partitions: uint32(10 * nodes), Agree: true}
	for i := range nodes {
		r.Members = append(r.Members, &adminv1.Member{
			Name: fmt.Sprint("n", i+1), State: adminv1.NodeState_NODE_STATE_SERVING, ViewId: 7, ViewMembers: uint32(nodes), Owned: 10, Held: 10,
		})
	}
	return r
}

func TestDisagreement(t *testing.T) {
	if err := disagreement(settled(3), 3); err != nil {
		t.Errorf("all is well, but: %v", err)
	}
	for want, change := range map[string]func(r *adminv1.MembersResponse){
		"2 members":        func(r *adminv1.MembersResponse) { r.Members = r.Members[:2] },
		"do not agree":     func(r *adminv1.MembersResponse) { r.Agree = false },
		"n2 does not":      func(r *adminv1.MembersResponse) { r.Members[1].Error = "no answer" },
		"DRAINING":         func(r *adminv1.MembersResponse) { r.Members[2].State = adminv1.NodeState_NODE_STATE_DRAINING },
		"view of 2":        func(r *adminv1.MembersResponse) { r.Members[0].ViewMembers = 2 },
		"owns 11":          func(r *adminv1.MembersResponse) { r.Members[0].Owned = 11 },
		"waits with 1":     func(r *adminv1.MembersResponse) { r.Members[0].Waiting = 1 },
		"without a copy":   func(r *adminv1.MembersResponse) { r.Members[0].Uncopied = 1 },
		"nobody has taken": func(r *adminv1.MembersResponse) { r.Members[0].Unsent = 1 },
		"30 of 31":         func(r *adminv1.MembersResponse) { r.Partitions = 31 },
	} {
		r := settled(3)
		change(r)
		if err := disagreement(r, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	r := settled(3)
	r.Members[0].Uncopied = 1
	if err := disagreement(r, 3); !errors.Is(err, ErrRaw) {
		t.Errorf("only a copy is missing, but: %v", err)
	}
	r.Members[1].Held++
	if err := disagreement(r, 3); err == nil || errors.Is(err, ErrRaw) {
		t.Errorf("something graver hides behind a copy that is missing: %v", err)
	}
}

// start starts one node.
func start(t *testing.T) (*Fleet, *Node) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Binary: self, Dir: t.TempDir(), Nodes: 1, Limit: 60, Window: time.Minute, Concurrent: 2, Ready: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := f.Nodes[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, f.Nodes[0]
}

func TestNodeComesAndGoes(t *testing.T) {
	f, n := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Settle(ctx); err != nil {
		t.Error(err)
	}
	if got := f.Answering(); len(got) != 1 || got[0] != n || f.Dead() != "" {
		t.Errorf("%v answer, dead: %q", got, f.Dead())
	}
	if err := n.Stop(ctx); err != nil {
		t.Error(err)
	}
	if len(f.Answering()) != 0 || f.CPU() == 0 {
		t.Errorf("%v answer after the only one was stopped, which had %v", f.Answering(), f.CPU())
	}
	if err := n.Start(ctx); err != nil { // under the same name and addresses
		t.Fatal(err)
	}
	if err := n.Kill(); err != nil {
		t.Error(err)
	}
	if n.Answers() || f.Dead() != "" {
		t.Errorf("it answers: %v; dead by itself: %q", n.Answers(), f.Dead())
	}
}

func TestNodeIsPaused(t *testing.T) {
	_, n := start(t)
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.state(short); err == nil || n.Answers() {
		t.Errorf("it answers while it is paused")
	}
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	long, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := n.state(long); err != nil || !n.Answers() {
		t.Errorf("it does not answer after it was paused: %v", err)
	}
}

func TestDeadNodeIsNoticed(t *testing.T) {
	f, n := start(t)
	if err := syscall.Kill(n.PID(), syscall.SIGTERM); err != nil { // as if by itself
		t.Fatal(err)
	}
	<-n.program.Done
	if got := f.Dead(); !strings.Contains(got, "n1 ended by itself") {
		t.Errorf("dead: %q", got)
	}
}

func TestNodeThatCannotStart(t *testing.T) {
	f, n := start(t)
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(f.config.Dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	err := n.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), n.logFile()) {
		t.Errorf("error %v, want one that says how it ended and where its log is", err)
	}
	if log, err := os.ReadFile(n.logFile()); err != nil || !strings.Contains(string(log), keyFile) {
		t.Errorf("its log is %q, %v", log, err)
	}
}

// A node's place is its own from the beginning: while it did not listen there yet, another fleet
// was given the same place, both became one cluster, and ended each other's nodes as their names
// were the same.
func TestFleetsHaveNothingInCommon(t *testing.T) {
	used := map[string]bool{}
	for range 30 {
		dir := t.TempDir()
		f, err := New(Config{Binary: "-", Dir: dir, Nodes: 20})
		if err != nil {
			t.Fatal(err)
		}
		secret, err := os.ReadFile(filepath.Join(dir, keyFile))
		if err != nil || len(secret) < 20 || used[string(secret)] {
			t.Errorf("the secret is %q, %v", secret, err)
		}
		used[string(secret)] = true
		for _, n := range f.Nodes {
			for _, a := range []string{n.place.grpc, n.place.admin, n.place.peer, n.place.gossip} {
				if used[a] {
					t.Errorf("%s was given twice", a)
				}
				used[a] = true
			}
		}
	}
}

func TestLoopback(t *testing.T) {
	places, err := loopback(5)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range places {
		for _, a := range []string{p.grpc, p.admin, p.peer, p.gossip} {
			if seen[a] || a == "" || !isFree(a) {
				t.Errorf("%q is twice in %v, or not free", a, places)
			}
			seen[a] = true
		}
	}
	lis, err := net.Listen("tcp", places[0].grpc)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if isFree(places[0].grpc) {
		t.Errorf("%s is free, though it is listened on", places[0].grpc)
	}
}
