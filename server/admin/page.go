package admin

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"

	"google.golang.org/grpc"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// guarded is the service as the page asks it: what goes wrong is handled as in calls over gRPC.
type guarded struct {
	service *service
	guard   guard
}

func (g guarded) Members(ctx context.Context, req *adminv1.MembersRequest) (*adminv1.MembersResponse, error) {
	return within(ctx, g.guard, adminv1.AdminService_Members_FullMethodName, g.service.Members, req)
}

func (g guarded) Inspect(ctx context.Context, req *adminv1.InspectRequest) (*adminv1.InspectResponse, error) {
	return within(ctx, g.guard, adminv1.AdminService_Inspect_FullMethodName, g.service.Inspect, req)
}

func within[Req, Resp any](ctx context.Context, g guard, method string, call func(context.Context, *Req) (*Resp, error), req *Req) (resp *Resp, err error) {
	_, err = g.unary(ctx, req, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		resp, err = call(ctx, req)
		return nil, err
	})
	return resp, err
}

// page is around a page of ours: a panic becomes an error that tells nothing but where to look.
func (g guard) page(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				id, _ := requestID(r.Context())
				g.log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("page", r.URL.Path), slog.String("request_id", id),
					slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
				http.Error(w, "a fault of the node's own; see its log under request "+id, http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
