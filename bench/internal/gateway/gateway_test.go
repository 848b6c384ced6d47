package gateway

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/bench/internal/audit"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// What the gateways are opened with.
const (
	group     = 1
	patient   = 5 * time.Second
	impatient = 50 * time.Millisecond
)

// node is a limiter of one answer.
type node struct {
	sluicev1.UnimplementedRateLimiterServiceServer
	answer func(context.Context) (*sluicev1.Decision, error)
}

func (n node) Check(ctx context.Context, _ *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	d, err := n.answer(ctx)
	return &sluicev1.CheckResponse{Decision: d}, err
}

// CheckStream answers each check of a stream as Check does.
func (n node) CheckStream(s grpc.BidiStreamingServer[sluicev1.CheckStreamRequest, sluicev1.CheckStreamResponse]) error {
	for {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		resp := &sluicev1.CheckStreamResponse{Sequence: req.GetSequence()}
		for range req.GetChecks() {
			r := &sluicev1.CheckResult{}
			if d, err := n.answer(s.Context()); err != nil {
				r.Result = &sluicev1.CheckResult_Error{Error: status.Convert(err).Proto()}
			} else {
				r.Result = &sluicev1.CheckResult_Decision{Decision: d}
			}
			resp.Results = append(resp.Results, r)
		}
		if err := s.Send(resp); err != nil {
			return err
		}
	}
}

var (
	allows = node{answer: func(context.Context) (*sluicev1.Decision, error) {
		return &sluicev1.Decision{Allowed: true, Limit: 60, Exactness: sluicev1.Exactness_EXACTNESS_DEGRADED}, nil
	}}
	refuses = node{answer: func(context.Context) (*sluicev1.Decision, error) {
		return nil, status.Error(codes.Unavailable, "draining")
	}}
	isSilent = node{answer: func(ctx context.Context) (*sluicev1.Decision, error) {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}}
)

// serve serves nodes and returns their addresses.
func serve(t *testing.T, nodes ...node) (addresses []string) {
	t.Helper()
	for _, n := range nodes {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		sluicev1.RegisterRateLimiterServiceServer(s, n)
		go s.Serve(lis)
		t.Cleanup(s.Stop)
		addresses = append(addresses, lis.Addr().String())
	}
	return addresses
}

// outcomes of the tries that a desk's log has.
func outcomes(l *audit.Log) (out []audit.Outcome) {
	for _, t := range l.Tries() {
		out = append(out, t.Outcome)
	}
	return out
}

func TestPlainGatewayMovesOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []node
		want  []audit.Outcome // of its tries; the last is the call's
	}{
		{"the first answers", []node{allows, refuses}, []audit.Outcome{audit.Allowed}},
		{"the first refuses", []node{refuses, allows}, []audit.Outcome{audit.Failed, audit.Allowed}},
		{"the first is silent", []node{isSilent, allows}, []audit.Outcome{audit.Unanswered, audit.Allowed}},
	} {
		addresses := serve(t, c.nodes...)
		d := &Desk{Keys: MakeKeys(10), Log: audit.NewLog()}
		circle, err := Dial(addresses)
		if err != nil {
			t.Fatal(err)
		}
		g := d.OpenPlain(circle, group, patient)
		g.turn.Store(uint32(len(addresses)) - 1) // so that the first is asked first
		g.Check(t.Context(), 3)
		got := outcomes(d.Log)
		if len(got) != len(c.want) {
			t.Fatalf("%s: tries %v, want %v", c.name, d.Log.Tries(), c.want)
		}
		for i := range got {
			if got[i] != c.want[i] || d.Log.Tries()[i].Node != addresses[i] || d.Log.Tries()[i].Key != 3 {
				t.Errorf("%s: try %d is %+v, want outcome %v at %s", c.name, i, d.Log.Tries()[i], c.want[i], addresses[i])
			}
		}
		calls := d.Log.Calls()
		if len(calls) != 1 || calls[0].Outcome != c.want[len(c.want)-1] || calls[0].Group != group || calls[0].Err != nil {
			t.Errorf("%s: calls %+v", c.name, calls)
		}
		circle.Close()
	}
}

// An impatient gateway has no time for a second try if the first node is silent.
func TestImpatientGatewayFails(t *testing.T) {
	d := &Desk{Keys: MakeKeys(2), Log: audit.NewLog()}
	circle, err := Dial(serve(t, isSilent, isSilent))
	if err != nil {
		t.Fatal(err)
	}
	defer circle.Close()
	g := d.OpenPlain(circle, group, impatient)
	g.Check(t.Context(), 1)
	calls := d.Log.Calls()
	if len(calls) != 1 || calls[0].Outcome != audit.Failed || calls[0].Err == nil {
		t.Fatalf("calls %+v, want one that failed", calls)
	}
	if took := calls[0].Ended - calls[0].Began; took < impatient || took > time.Second {
		t.Errorf("it took %v, want its deadline", took)
	}
	if got := outcomes(d.Log); len(got) != 1 || got[0] != audit.Unanswered {
		t.Errorf("tries %+v, want one without an answer", d.Log.Tries())
	}
}

// All tries of the Go client are seen, although it sends them on streams of its own.
func TestTapSeesTries(t *testing.T) {
	addresses := serve(t, refuses, allows)
	d := &Desk{Keys: MakeKeys(10), Log: audit.NewLog()}
	g, err := d.OpenAware(strings.Join(addresses, ","), group, patient)
	if err != nil {
		t.Fatal(err)
	}
	const calls = 20
	for i := range calls {
		g.Check(t.Context(), i%10)
	}
	g.Close()
	allowed, failed := 0, 0
	for i, try := range d.Log.Tries() {
		switch {
		case try.Outcome == audit.Allowed && try.Node == addresses[1] && try.Degraded:
			allowed++
		case try.Outcome == audit.Failed && try.Node == addresses[0]:
			failed++
		default:
			t.Errorf("try %d is %+v", i, try)
		}
	}
	if allowed != calls || failed == 0 {
		t.Errorf("%d tries were allowed and %d refused, want %d and some", allowed, failed, calls)
	}
	for _, c := range d.Log.Calls() {
		if c.Outcome != audit.Allowed || c.Err != nil || c.Cached {
			t.Errorf("a call is %+v", c)
		}
	}
}
