package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	reflectiongrpc "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// A shutdown lets the call under way be answered.
func TestShutdownWaitsForCalls(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	r := serve(t, &fakeCluster{members: func(context.Context) []member {
		close(asked)
		<-answer
		return []member{up("a", 1, "p")}
	}}, tiers(t))
	called, down := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := r.Members(t.Context(), &adminv1.MembersRequest{})
		called <- err
	}()
	<-asked
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		down <- r.server.Shutdown(ctx)
	}()
	close(answer)
	if err := errors.Join(<-called, <-down); err != nil {
		t.Error(err)
	}
}

// A shutdown does not wait longer than it may.
func TestShutdownCutsOff(t *testing.T) {
	asked := make(chan struct{})
	r := serve(t, &fakeCluster{members: func(ctx context.Context) []member {
		close(asked)
		<-ctx.Done()
		return nil
	}}, tiers(t))
	called := make(chan error, 1)
	go func() {
		_, err := r.Members(t.Context(), &adminv1.MembersRequest{})
		called <- err
	}()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-called; status.Code(err) != codes.Unavailable {
		t.Errorf("the call: %v", err)
	}
}

// Whoever keeps a stream open holds up no shutdown.
func TestShutdownEndsReflection(t *testing.T) {
	r := serve(t, &fakeCluster{}, tiers(t))
	stream, err := reflectiongrpc.NewServerReflectionClient(r.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := &reflectiongrpc.ServerReflectionRequest{MessageRequest: &reflectiongrpc.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(list); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil || !strings.Contains(resp.String(), "sluice.admin.v1.AdminService") {
		t.Errorf("%v, %v", resp, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	_, err = stream.Recv()
	fails(t, err, codes.Unavailable, "SERVICE_UNAVAILABLE", "")
}
