package rpc

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectiongrpc "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

const serviceName = "sluice.v1.RateLimiterService"

// TestHealthAndShutdown holds that health goes NOT_SERVING while a call is under way, and
// that the call is answered.
func TestHealthAndShutdown(t *testing.T) {
	r := serve(t, small)
	health := healthgrpc.NewHealthClient(r.conn)
	for _, name := range []string{"", serviceName} {
		if h, err := health.Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: name}); err != nil || h.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
			t.Fatalf("%q: %v, %v", name, h, err)
		}
	}
	watch, err := health.Watch(t.Context(), &healthgrpc.HealthCheckRequest{Service: serviceName})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := watch.Recv(); err != nil || h.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", h, err)
	}

	held, release := r.clock.hold()
	defer release()
	answered := make(chan error, 1)
	go func() {
		resp, err := r.Check(t.Context(), &sluicev1.CheckRequest{Key: "k"})
		if err == nil && !resp.GetDecision().GetAllowed() {
			err = errors.New("denied")
		}
		answered <- err
	}()
	<-held
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	down := make(chan error, 2)
	for range 2 { // twice is safe
		go func() { down <- r.server.Shutdown(ctx) }()
	}
	if h, err := watch.Recv(); err != nil || h.GetStatus() != healthgrpc.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v; want NOT_SERVING", h, err)
	}
	if h, err := watch.Recv(); err == nil {
		t.Errorf("%v, want the watch to end, as it would hold up the shutdown", h)
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown returned %v before the call", err)
	default:
	}
	release()
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	for range 2 {
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
	if _, err := r.Check(t.Context(), &sluicev1.CheckRequest{Key: "k"}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the end: %v", err)
	}
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("a third Shutdown: %v", err)
	}
}

// TestShutdownDeadline holds that a call that does not end is cut off.
func TestShutdownDeadline(t *testing.T) {
	r := serve(t, small)
	held, release := r.clock.hold()
	defer release()
	answered := make(chan error, 1)
	go func() {
		_, err := r.Check(t.Context(), &sluicev1.CheckRequest{Key: "k"})
		answered <- err
	}()
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	down := make(chan error, 1)
	go func() { down <- r.server.Shutdown(ctx) }()
	<-r.server.service.draining
	cancel()
	if err := <-answered; status.Code(err) != codes.Unavailable {
		t.Errorf("the call: %v, want Unavailable", err)
	}
	release() // handlers are waited for
	if err := <-down; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestReflection(t *testing.T) {
	r := serve(t, small)
	s, err := reflectiongrpc.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectiongrpc.ServerReflectionRequest) *reflectiongrpc.ServerReflectionResponse {
		t.Helper()
		if err := s.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var names []string
	listed := ask(&reflectiongrpc.ServerReflectionRequest{MessageRequest: &reflectiongrpc.ServerReflectionRequest_ListServices{}})
	for _, service := range listed.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{serviceName, "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("services %q lack %s", names, want)
		}
	}
	found := ask(&reflectiongrpc.ServerReflectionRequest{MessageRequest: &reflectiongrpc.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: serviceName + ".Acquire"}})
	var file descriptorpb.FileDescriptorProto
	if b := found.GetFileDescriptorResponse().GetFileDescriptorProto(); len(b) == 0 || proto.Unmarshal(b[0], &file) != nil || file.GetPackage() != "sluice.v1" {
		t.Errorf("Acquire is described by %v", found)
	}
	if err := s.CloseSend(); err != nil {
		t.Error(err)
	}
}

// TestBounds holds that the server announces a bound on headers, and refuses methods that
// it does not have.
func TestBounds(t *testing.T) {
	r := serve(t, small)
	r.untouched(t) // so that the client knows the server's settings
	big := metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("x", maxHeaderList))
	if _, err := r.Check(big, &sluicev1.CheckRequest{Key: "k"}, grpc.WaitForReady(true)); err == nil {
		t.Error("a header list above the bound passed")
	}
	if _, err := r.send(t, "Nothing", nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
	r.untouched(t)
}

// An open reflection stream once held up every shutdown until its deadline.
func TestShutdownEndsReflection(t *testing.T) {
	r := serve(t, small)
	stream, err := reflectiongrpc.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectiongrpc.ServerReflectionRequest{
		MessageRequest: &reflectiongrpc.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := r.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}

// A client that takes no answers once held up a shutdown until its deadline; and, if its answer was on
// its way before, for forty seconds.
func TestShutdownWaitsForNoClientThatDoesNotRead(t *testing.T) {
	r := serve(t, small)
	stream := r.stream(t, t.Context())
	checks := make([]*sluicev1.CheckRequest, 10_000)
	for i := range checks {
		checks[i] = &sluicev1.CheckRequest{Key: "k"}
	}
	sendBatch(t, stream, &sluicev1.CheckStreamRequest{Checks: checks}) // far beyond a stream's window
	for waits, begun := false, time.Now(); !waits; runtime.Gosched() {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("there is no answer that the client could take")
		}
		for _, c := range r.server.open.all() {
			waits = waits || c.waits && c.written > 1<<15 && c.unsent == 0 // as much as the window lets
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), stuckTimeout/2)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}
