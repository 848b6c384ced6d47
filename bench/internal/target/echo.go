package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is grpc-go's own

	"github.com/overten/sluice/bench/internal/ask"
	"github.com/overten/sluice/bench/internal/process"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/rpc"
	"github.com/overten/sluice/server/slack"
)

// An echo takes a CheckRequest and returns a fixed CheckResponse of the same size as a node's, and
// does nothing: what a limiter costs beyond it is what it does for a decision.
//
//	echo        served with the options, the codec, the connections and the timers of a node
//	echo-plain  that, with the codec and the connections of grpc-go and exact timers
//	echo-bare   as echo, with an empty heap
//
// The garbage collector runs when the heap has doubled, and an echo's is next to nothing: it
// would collect ten times as often as a node, and a node would look cheaper than doing nothing. So
// the first two hold as much as a node with the keys of the load lets lie: between two collections
// there is as much garbage. See paceCollector.
func startEcho(ctx context.Context, c Config) (*Target, error) {
	const perKey = 160 // bytes: a record, and the history of a key that is asked for 15 to 30 times a minute
	ballast := max(16<<20, min(32<<20, 64<<20-c.Keys*perKey))
	if c.Kind == "echo-bare" {
		ballast = 0
	}
	child, err := process.Start(ctx, ServeEcho, c.Kind, strconv.Itoa(ballast), c.Profile)
	if err != nil {
		return nil, err
	}
	return &Target{
		Addrs: []string{child.Ready}, PIDs: []int{child.PID()},
		Settings: fmt.Sprintf("gRPC with a node's options, %d MB held", ballast>>20), closers: []func() error{child.Stop},
	}, nil
}

// ServeEcho is the first argument of this program when it is to be an echo.
const ServeEcho = "serve-echo"

// Echo is the whole life of an echo's process, of which args are the arguments behind ServeEcho.
func Echo(args []string) error {
	if len(args) != 3 {
		return errors.New(ServeEcho + " is for the processes that this program starts")
	}
	if args[0] != "echo-plain" {
		_ = slack.Take() // as a node does
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	held := make([]byte, size) // is never touched, so it takes no memory but only counts as heap
	defer runtime.KeepAlive(held)
	if args[2] != "" {
		finish, err := profile(args[2] + "/" + args[0])
		if err != nil {
			return err
		}
		defer finish()
	}
	options, wrap := rpc.Options(), rpc.Listen
	if args[0] == "echo-plain" {
		const grpcReadBuffer = 32 << 10
		options = append(options, grpc.ForceServerCodecV2(encoding.GetCodecV2("proto")), grpc.ReadBufferSize(grpcReadBuffer))
		wrap = func(l net.Listener) net.Listener { return l }
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(options...)
	defer s.Stop()
	sluicev1.RegisterRateLimiterServiceServer(s, echo{answer: fixedAnswer()})
	go func() {
		if err := s.Serve(wrap(lis)); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
		}
	}()
	process.Hold(lis.Addr().String())
	return nil
}

// profile records where this process spends its time and what it allocates, from now until
// finish is called, in two files whose names begin with path.
func profile(path string) (finish func(), err error) {
	cpu, err := os.Create(path + ".cpu.prof")
	if err != nil {
		return nil, err
	}
	allocs, err := os.Create(path + ".allocs.prof")
	if err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close(), allocs.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}, nil
}

type echo struct {
	sluicev1.UnimplementedRateLimiterServiceServer
	answer *sluicev1.CheckResponse
}

// Check answers every call with the same message.
func (e echo) Check(context.Context, *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	return e.answer, nil
}

// fixedAnswer is a decision as a node makes them under load, of the same size.
func fixedAnswer() *sluicev1.CheckResponse {
	return &sluicev1.CheckResponse{Decision: &sluicev1.Decision{
		Allowed: true, Limit: ask.Limit, Remaining: ask.Limit - 10,
		ResetUnix: time.Now().Add(45 * time.Second).Unix(), ResetAfterMs: 45_000,
		Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
	}}
}
