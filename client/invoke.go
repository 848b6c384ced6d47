package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// An rpc is a method of the limiter's API that has one answer.
type rpc[Req, Res any] func(sluicev1.RateLimiterServiceClient, context.Context, Req, ...grpc.CallOption) (Res, error)

// A route says where a call goes and how long it may take.
type route struct {
	partition int // of the key, or anywhere
	timeout   time.Duration
	once      bool // the caller has a timetable of its own: no node is asked twice
	work      time.Duration
}

// invoke makes one call that may take as long as ctx, and at most as the route says.
func invoke[Req, Res any](ctx context.Context, c *Client, r route, method rpc[Req, Res], req Req) (Res, *Error) {
	now := time.Now()
	q := &question{
		client: c, ctx: ctx, deadline: deadline(ctx, now, r.timeout), partition: r.partition, once: r.once, work: r.work,
		answers: make(chan *answer, roomForAnswers),
		call: func(ctx context.Context, n *node) (any, *Error) {
			res, e := send(ctx, n, method, req)
			return res, e
		},
	}
	a, e := q.ask(now)
	if e != nil {
		var none Res
		return none, e
	}
	res, _ := a.res.(Res)
	return res, nil
}

// send makes one call of one node.
func send[Req, Res any](ctx context.Context, n *node, method rpc[Req, Res], req Req) (Res, *Error) {
	id := RequestID(ctx)
	if id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, requestIDKey, id)
	}
	var (
		header metadata.MD
		server peer.Peer // has an address once a connection was found for the call
	)
	res, err := method(n.rpc, ctx, req, grpc.Header(&header), grpc.Peer(&server))
	if err == nil {
		return res, nil
	}
	e := readError(err)
	e.RequestID = requestIDOf(header, id)
	e.sent = server.Addr != nil
	return res, e
}

// deadline of a call that begins now.
func deadline(ctx context.Context, now time.Time, timeout time.Duration) time.Time {
	d := now.Add(timeout)
	if own, ok := ctx.Deadline(); ok && own.Before(d) {
		return own
	}
	return d
}
