package contract

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// An Error is a failure by the contract. Its JSON form is that of a failed
// task's error; the body of an HTTP response is Body.
type Error struct {
	Code Code `json:"code"`
	// Message is shown to end users: no stack trace, no inner detail, no key.
	// Empty: the catalogue's default.
	Message string `json:"message"`
}

// Error returns the code and the message.
func (e Error) Error() string {
	e = e.complete()
	return string(e.Code) + ": " + e.Message
}

// Status returns the HTTP status that the catalogue gives the code; 500 if it
// does not have the code.
func (e Error) Status() int {
	entry, _ := Lookup(e.complete().Code)
	return entry.Status
}

// Body returns the error as the body of an HTTP response.
func (e Error) Body() Body {
	e = e.complete()
	return Body{Error: e.Code, Message: e.Message}
}

// complete returns e as it goes out: an empty message becomes the default, and
// an unknown code internal_error. The message of an unknown code is dropped, as
// nothing tells that it suits an end user.
func (e Error) complete() Error {
	entry, ok := Lookup(e.Code)
	if !ok {
		entry, _ = Lookup(InternalError)
		return Error{entry.Code, entry.Message}
	}
	if e.Message == "" {
		e.Message = entry.Message
	}
	return e
}

// A Body is the body of every error response.
type Body struct {
	Success bool   `json:"success"` // always false
	Error   Code   `json:"error"`
	Message string `json:"message"`
}

// Encode returns the body as JSON, on one line that ends.
func (b Body) Encode() []byte {
	line, _ := json.Marshal(b) // cannot fail: a bool and two strings
	return append(line, '\n')
}

// WriteError answers a request with e: the status of its code, the body on one
// line, and no caching. Headers that were set before stay (the caller sets
// X-RateLimit-*, Retry-After and X-Request-Id), except those that describe
// another body.
func WriteError(w http.ResponseWriter, e Error) {
	b := e.Body().Encode()
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("ETag")
	h.Del("Last-Modified")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(e.Status())
	_, _ = w.Write(b) // fails only if the client has gone
}

// ParseBody reads b as an error body. It returns true only for exactly the
// contract's shape: one JSON object in valid UTF-8 with the three members and
// no other, each once; success false, error a code of the catalogue, message a
// string.
//
// It decides whether an upstream's error may pass untouched, so what it does
// not know it refuses: a member more could carry a stack trace. The caller
// bounds the length of b, and compares the code's status with the response's.
func ParseBody(b []byte) (Body, bool) {
	members, ok := object(b, "success", "error", "message")
	if !ok {
		return Body{}, false
	}
	success, ok1 := value[bool](members["success"])
	code, ok2 := value[Code](members["error"])
	message, ok3 := value[string](members["message"])
	if !ok1 || !ok2 || !ok3 || success {
		return Body{}, false
	}
	if _, known := Lookup(code); !known {
		return Body{}, false
	}
	return Body{Error: code, Message: message}, true
}
