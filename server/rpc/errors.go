package rpc

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/contract"
)

// domain is that of all errors of ours (AIP-193).
const domain = "sluice"

// failure builds an error: its code, the contract's code as ErrorInfo, and details.
func failure(code codes.Code, reason contract.Code, message string, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: strings.ToUpper(string(reason)), Domain: domain}
	st, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil { // only if a detail cannot be marshaled
		return status.Error(code, message)
	}
	return st.Err()
}

// toProto returns err in the form that an item of a batch carries.
func toProto(err error) *spb.Status { return status.Convert(err).Proto() }

// field names one field of a request. Its zero value is the request itself.
type field struct {
	list  string // the repeated field that it is in, or ""
	index int
	name  string
}

// pointer returns the field as a JSON pointer: /checks/3/key.
func (f field) pointer() string {
	if f.list == "" {
		return "/" + f.name
	}
	return fmt.Sprintf("/%s/%d/%s", f.list, f.index, f.name)
}

// path returns the field as a dotted path: checks[3].key.
func (f field) path() string {
	if f.list == "" {
		return f.name
	}
	return fmt.Sprintf("%s[%d].%s", f.list, f.index, f.name)
}

// invalid is the error for a required field that is absent, or one that holds what
// cannot be meant.
func (f field) invalid(what string) error { return f.fault(contract.InvalidRequest, what) }

// outOfRange is the error for a field that is there but too large, small or long.
func (f field) outOfRange(what string) error { return f.fault(contract.ValidationError, what) }

func (f field) fault(reason contract.Code, what string) error {
	return badRequest(reason, f.pointer(), f.path(), what)
}

func badRequest(reason contract.Code, pointer, path, what string) error {
	return failure(codes.InvalidArgument, reason, pointer+": "+what, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: path, Description: what}},
	})
}

// unavailable is the error for what could not be decided. It may be retried soon: at
// another node, or at this one when it is back.
func unavailable(why string) error {
	delay := time.Duration(rand.Int64N(int64(time.Second)))
	return failure(codes.Unavailable, contract.ServiceUnavailable, why, &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
}

// internal is the error for a bug of ours. What happened is for the log only.
func internal(requestID string) error {
	return failure(codes.Internal, contract.InternalError, "the node could not answer because of a fault of its own; see its log under request "+requestID)
}

func leaseNotFound() error {
	return failure(codes.NotFound, contract.NotFound, "there is no such lease")
}

func leaseGone() error {
	return failure(codes.FailedPrecondition, contract.Gone, limiter.ErrGone.Error())
}

func runConflict() error {
	return failure(codes.AlreadyExists, contract.Conflict, "/run_id: "+limiter.ErrConflict.Error())
}
