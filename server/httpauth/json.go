package httpauth

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/limiter/contract"
)

// message is a pointer to a request type.
type message[M any] interface {
	*M
	proto.Message
}

// asJSON serves a method in JSON, by protobuf's own mapping with the names of the .proto files.
// Where tokens are configured it is for those who show one. headers may be nil.
func asJSON[M any, P message[M], R proto.Message](
	s *Server, method func(context.Context, P) (R, error), headers func(*Server, http.ResponseWriter, R),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.Tokens != nil && !s.trusted(r) {
			contract.WriteError(w, contract.Error{Code: contract.InvalidAPIKey, Message: "A token is required in " + TokenHeader + "."})
			return
		}
		req := P(new(M))
		if e := readJSON(w, r, req); e != nil {
			contract.WriteError(w, *e)
			return
		}
		if of, ok := any(req).(interface{ GetKey() string }); ok {
			r = identify(w, r, of.GetKey())
		}
		ctx, cancel := context.WithTimeout(r.Context(), decideTime) // which the upload does not use up
		defer cancel()
		resp, err := method(ctx, req)
		if err != nil {
			contract.WriteError(w, s.failure(w, err))
			return
		}
		body, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(resp)
		if err != nil {
			contract.WriteError(w, s.failure(w, err))
			return
		}
		if headers != nil {
			headers(s, w, resp)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n'))
	}
}

// readJSON reads a request into m. What it returns does not repeat what was sent.
func readJSON(w http.ResponseWriter, r *http.Request, m proto.Message) *contract.Error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &contract.Error{Code: contract.InvalidRequest, Message: "Content-Type must be application/json."}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &contract.Error{Code: contract.PayloadTooLarge}
	case err != nil:
		return &contract.Error{Code: contract.InvalidRequest, Message: "The body could not be read."}
	}
	defer clear(b)
	if err := protojson.Unmarshal(b, m); err != nil {
		return &contract.Error{Code: contract.InvalidRequest, Message: "The body is not a JSON " + string(m.ProtoReflect().Descriptor().Name()) + whereIn(err) + "."}
	}
	return nil
}

// place is where protojson says that it stopped: its line, and for a value of another kind the field.
var place = regexp.MustCompile(`\((line \d+:\d+)\)(?:: invalid value for \w+ field (\w+):)?`)

// whereIn returns the place in a parse error, and nothing of what stands there: that may be a key.
func whereIn(err error) string {
	at := place.FindStringSubmatch(err.Error())
	switch {
	case at == nil:
		return ""
	case at[2] == "":
		return " (" + at[1] + ")"
	}
	return " (" + at[1] + ": " + protoName(at[2]) + " is of another type)"
}

// protoName returns a field's name as the .proto files have it: ttl_ms for ttlMs.
func protoName(jsonName string) string {
	var b strings.Builder
	for _, r := range jsonName {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
