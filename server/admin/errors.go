package admin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/overten/sluice/limiter/contract"
)

// failure builds an error as the face for gateways has them: its code, the contract's code
// as ErrorInfo, and details.
func failure(code codes.Code, reason contract.Code, message string, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: strings.ToUpper(string(reason)), Domain: "sluice"}
	st, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil { // only if a detail cannot be marshaled
		return status.Error(code, message)
	}
	return st.Err()
}

// invalid is the error for a required field that is absent, or one that holds what cannot
// be meant.
func invalid(field, what string) error { return fault(contract.InvalidRequest, field, what) }

// outOfRange is the error for a field that is there but too large or too long.
func outOfRange(field, format string, args ...any) error {
	return fault(contract.ValidationError, field, fmt.Sprintf(format, args...))
}

func fault(reason contract.Code, field, what string) error {
	return failure(codes.InvalidArgument, reason, "/"+field+": "+what, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: what}},
	})
}

// unanswered is the error for what the cluster could not tell.
func unanswered(err error) error {
	why := err.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		why = "the node that was asked did not answer in time"
	}
	return unavailable(why)
}

// unavailable is the error for what may be asked again soon.
func unavailable(why string) error {
	delay := time.Duration(rand.Int64N(int64(time.Second)))
	return failure(codes.Unavailable, contract.ServiceUnavailable, why, &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
}

// internal is the error for a bug of ours. What happened is for the log only.
func internal(requestID string) error {
	return failure(codes.Internal, contract.InternalError, "the node could not answer because of a fault of its own; see its log under request "+requestID)
}
