package trace

import (
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	rpccode "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/metrics"
	"github.com/overten/sluice/server/rpc"
)

// outcome returns what spans tell of a decision, in the words of the metrics' labels.
func outcome(o *rpc.Outcome) []attribute.KeyValue {
	name, _, _ := strings.Cut(o.Tier, "~") // without the variant, which may be a single key's
	return []attribute.KeyValue{
		attribute.String("sluice.tier", name),
		attribute.Bool("sluice.allowed", o.Allowed),
		attribute.String("sluice.reason", metrics.ReasonName(o.Reason)),
		attribute.String("sluice.exactness", metrics.ExactnessName(o.Exactness)),
		attribute.Int64("sluice.cost", int64(o.Cost)),
	}
}

// answer returns what spans tell of an answer to a call.
func answer(kind peer.Kind, a *peer.Answer, asked rpc.Outcome) []attribute.KeyValue {
	became := "decided"
	switch {
	case a.Undecided:
		became = "undecided"
	case a.Unknown:
		became = "unknown"
	case errors.Is(a.Err, limiter.ErrConflict):
		became = "conflict"
	case errors.Is(a.Err, limiter.ErrGone):
		became = "gone"
	case a.Err != nil:
		became = "failed"
	}
	all := []attribute.KeyValue{attribute.String("sluice.outcome", became)}
	if became != "decided" {
		return all
	}
	switch kind {
	case peer.Check:
		asked.Allowed, asked.Reason, asked.Exactness = a.Decision.Allowed, a.Decision.Reason, a.Decision.Exactness
	case peer.Acquire:
		asked.Allowed, asked.Reason, asked.Exactness = a.Grant.Granted, a.Grant.Reason, a.Grant.Exactness
	default:
		return all
	}
	return append(all, outcome(&asked)...)
}

// statusName is how a code reads.
func statusName(c codes.Code) string { return rpccode.Code(c).String() }

// failed tells whether a call that ended so failed by a fault that is not its caller's.
func failed(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}
