package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is grpc-go's own

	"github.com/overten/sluice/bench/internal/process"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
	"github.com/overten/sluice/server/rpc"
)

// sluice is the server that is measured; all others are yardsticks.
const sluice = "sluice"

// servers are what can be measured, by name. Each listens on loopback and returns its
// address and how to stop it. The next one to be compared is one more line here.
var servers = map[string]func() (addr string, stop func() error, err error){
	sluice:  serveSluice,
	"same":  serveSame,
	"plain": servePlain,
	"bare":  serveSame,
}

// ballast returns how much a server's process holds, in bytes, beside what the server
// itself needs. The garbage collector runs when the heap has doubled, and an echo's is
// next to nothing: alone it would collect ten times as often as a node that holds keys,
// and a node would look cheaper than doing nothing. So the echoes hold as much as a
// node does for the keys of the load; all but the one named bare.
func ballast(name string, keys int) int {
	const perKey = 160 // a record, and the history of a key that is asked for 15 to 30 times a minute
	if name == sluice || name == "bare" {
		return 0
	}
	return keys * perKey
}

// serveFlags are what the process of a server is told.
type serveFlags struct {
	name    string
	ballast int
	profile string // path of files, or ""
}

func (f serveFlags) args() []string {
	return []string{"serve", f.name, strconv.Itoa(f.ballast), f.profile}
}

// serve is the whole life of a server's process. args are those of serveFlags.
func serve(args []string) error {
	if len(args) != 3 || servers[args[0]] == nil {
		return errors.New("serve is for the processes that this program starts")
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	held := make([]byte, size) // is never touched, so it takes no memory but only counts as heap
	defer runtime.KeepAlive(held)
	if args[2] != "" {
		finish, err := profile(args[2])
		if err != nil {
			return err
		}
		defer finish()
	}
	addr, stop, err := servers[args[0]]()
	if err != nil {
		return err
	}
	process.Hold(addr)
	return stop()
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

// maxKeys is far more than the load has.
const maxKeys = 10_000_000

// serveSluice is a node as `sluice serve` starts it, with the built-in tiers.
func serveSluice() (string, func() error, error) {
	node, err := server.Start(server.Config{
		GRPC: "127.0.0.1:0", MaxKeys: maxKeys,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return "", nil, err
	}
	return node.Addr(), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return node.Shutdown(ctx)
	}, nil
}

// serveSame is an echo with all that every server of ours has: its bounds, its codec and
// its connections. What a node costs beyond it is what it does for a decision.
func serveSame() (string, func() error, error) {
	return serveEcho(rpc.Listen, rpc.Options()...)
}

// servePlain is an echo with the bounds of ours, but the codec and the connections of
// grpc-go. What a node costs beyond it is all that we do, the wiping of keys included.
func servePlain() (string, func() error, error) {
	const grpcReadBuffer = 32 << 10
	return serveEcho(func(l net.Listener) net.Listener { return l }, append(rpc.Options(),
		grpc.ForceServerCodecV2(encoding.GetCodecV2("proto")), grpc.ReadBufferSize(grpcReadBuffer))...)
}

func serveEcho(wrap func(net.Listener) net.Listener, options ...grpc.ServerOption) (string, func() error, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := grpc.NewServer(options...)
	sluicev1.RegisterRateLimiterServiceServer(s, echo{answer: answer()})
	go func() {
		if err := s.Serve(wrap(lis)); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
		}
	}()
	return lis.Addr().String(), func() error { s.Stop(); return nil }, nil
}

// echo answers every Check with the same message.
type echo struct {
	sluicev1.UnimplementedRateLimiterServiceServer
	answer *sluicev1.CheckResponse
}

func (e echo) Check(context.Context, *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	return e.answer, nil
}

// answer is a decision as a node makes them under this load, of the same size.
func answer() *sluicev1.CheckResponse {
	return &sluicev1.CheckResponse{Decision: &sluicev1.Decision{
		Allowed: true, Limit: 600, Remaining: 590,
		ResetUnix: time.Now().Add(45 * time.Second).Unix(), ResetAfterMs: 45_000,
		Exactness: sluicev1.Exactness_EXACTNESS_EXACT,
	}}
}
