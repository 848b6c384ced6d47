package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/overten/sluice/limiter/contract"
)

var (
	// ErrUndecided is what an error is (errors.Is) when nothing could be
	// decided: no answer within the deadline, no connection, a limiter that is
	// overloaded, draining or broken. The same call may succeed later.
	ErrUndecided = errors.New("client: the limiter did not decide")

	// ErrClosed is why leases end when their client is closed.
	ErrClosed = errors.New("client: closed")
)

// An Error is why a call, or one check of a batch, has no decision. If it is
// ErrUndecided the limiter could not answer; otherwise the call was wrong.
type Error struct {
	// Code of the contract, as service_unavailable. Never empty. It speaks of the
	// gateway's call: whether the gateway's own client should see it is another question.
	Code contract.Code
	// GRPC status code of the call.
	GRPC codes.Code
	// Message for people. It may name a field by its JSON pointer, never a key.
	Message string
	// RetryAfter is the server's advice when to try again. 0: none.
	RetryAfter time.Duration
	// RequestID of the call, under which the server logged it if it got there.
	// Empty: it is not known.
	RequestID string

	cause error // a context's error, or nil
	sent  bool  // the call may have reached a server
}

// Error returns the message with the codes and the request id.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sluice: %s (%s): %s", e.Code, e.GRPC, e.Message)
	if e.RequestID != "" {
		fmt.Fprintf(&b, " [request %s]", e.RequestID)
	}
	return b.String()
}

// Is reports whether target is ErrUndecided and nothing could be decided.
func (e *Error) Is(target error) bool {
	return target == ErrUndecided && undecided(e.GRPC)
}

// Unwrap returns context.DeadlineExceeded or context.Canceled if that is what
// ended the call, else nil.
func (e *Error) Unwrap() error { return e.cause }

// undecided reports whether a status means that the limiter could not answer.
// All others mean that the call was wrong, and would be wrong again.
func undecided(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted,
		codes.Internal, codes.Unknown, codes.DataLoss:
		return true
	}
	return false
}

// readError turns a failed call's status into an Error.
func readError(err error) *Error {
	st := status.Convert(err)
	e := &Error{Code: codeOf(st.Code()), GRPC: st.Code(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			code := contract.Code(strings.ToLower(d.GetReason()))
			if _, known := contract.Lookup(code); known && d.GetDomain() == "sluice" {
				e.Code = code
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		}
	}
	switch e.GRPC {
	case codes.DeadlineExceeded:
		e.cause = context.DeadlineExceeded
	case codes.Canceled:
		e.cause = context.Canceled
	}
	return e
}

// readStatus turns the status of one check or lease into an Error.
func readStatus(st *statuspb.Status) *Error { return readError(status.FromProto(st).Err()) }

// requestIDOf returns the request id that a server answered with, else sent.
func requestIDOf(header metadata.MD, sent string) string {
	if ids := header.Get(requestIDKey); len(ids) > 0 && contract.ValidRequestID(ids[0]) {
		return ids[0]
	}
	return sent
}

// codeOf is the contract's code for a status without details, as a proxy or
// the transport makes it.
func codeOf(c codes.Code) contract.Code {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange:
		return contract.InvalidRequest
	case codes.AlreadyExists:
		return contract.Conflict
	case codes.NotFound:
		return contract.NotFound
	case codes.FailedPrecondition:
		return contract.Gone
	case codes.Unauthenticated:
		return contract.InvalidAPIKey
	case codes.PermissionDenied:
		return contract.Forbidden
	case codes.ResourceExhausted:
		return contract.PayloadTooLarge
	case codes.Unimplemented:
		return contract.NotImplemented
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return contract.ServiceUnavailable
	}
	return contract.InternalError
}

// wrongField is the error for a field that is refused before anything is sent.
func wrongField(code contract.Code, pointer, problem string) *Error {
	return &Error{Code: code, GRPC: codes.InvalidArgument, Message: pointer + ": " + problem}
}

// checkText refuses text that is not UTF-8. It could not be sent, and grpc
// reports that as INTERNAL, which would look like a limiter that is out of
// reach: under FailOpen a mangled key would pass.
func checkText(pointer, s string) *Error {
	if utf8.ValidString(s) {
		return nil
	}
	return wrongField(contract.InvalidRequest, pointer, "is not valid UTF-8")
}

// errNoAnswer is a response that lacks what the API promises.
func errNoAnswer(rpc string) *Error {
	return &Error{Code: contract.InternalError, GRPC: codes.Internal, Message: rpc + ": the response is incomplete", sent: true}
}
