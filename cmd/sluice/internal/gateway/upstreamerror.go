package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"

	"github.com/overten/sluice/limiter/contract"
)

// maxErrorBody is the largest error body of an upstream that may pass.
const maxErrorBody = 64 << 10

// checkError lets an upstream's error pass untouched if it is the contract's, and
// else replaces it by what stands for its status. Both are given a Retry-After if
// the contract promises one.
func (x *exchange) checkError(res *http.Response) error {
	own, err := speaksContract(res)
	if err != nil {
		return err
	}
	if !own {
		if res.StatusCode >= 500 {
			x.gateway.log.Warn("upstream's error is not by the contract, and was replaced",
				"request_id", x.id, "status", res.StatusCode)
		}
		x.refusal = contract.ForStatus(res.StatusCode)
		replace(res, contract.Error{Code: x.refusal})
	}
	limited := res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable
	if limited && res.Header.Get(contract.HeaderRetryAfter) == "" {
		contract.SetRetryAfter(res.Header, contract.UnavailableRetryAfter(rand.Float64()))
	}
	return nil
}

// speaksContract reports whether an error has the contract's body, with the code
// of its status. It reads the body and puts it back. What answers HEAD has none:
// its status alone counts.
func speaksContract(res *http.Response) (bool, error) {
	if res.Request.Method == http.MethodHead {
		return contract.Error{Code: contract.ForStatus(res.StatusCode)}.Status() == res.StatusCode, nil
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody+1))
	if err != nil {
		return false, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(raw), res.Body}
	if len(raw) > maxErrorBody {
		return false, nil
	}
	text, ok := decoded(raw, res.Header.Get("Content-Encoding"))
	if !ok {
		return false, nil
	}
	body, ok := contract.ParseBody(text)
	return ok && contract.Error{Code: body.Error}.Status() == res.StatusCode, nil
}

// decoded returns what a body says; false if that cannot be told.
func decoded(raw []byte, encoding string) ([]byte, bool) {
	switch encoding {
	case "", "identity":
		return raw, true
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, false
		}
		text, err := io.ReadAll(io.LimitReader(z, maxErrorBody+1))
		return text, err == nil && len(text) <= maxErrorBody
	}
	return nil, false
}

// replace makes res the answer that the contract has for e. Of its headers those
// stay that do not describe the body, as Retry-After.
func replace(res *http.Response, e contract.Error) {
	w := replacement{header: res.Header}
	contract.WriteError(&w, e)
	for _, name := range []string{"Content-Disposition", "Content-Language", "Content-Location", "Content-Range", "Digest"} {
		res.Header.Del(name)
	}
	_ = res.Body.Close() // the rest of it is of no interest
	res.StatusCode = w.status
	res.Body = io.NopCloser(&w.body)
	res.ContentLength = int64(w.body.Len())
	res.Trailer = nil
}

// A replacement is an http.ResponseWriter that keeps what is written.
type replacement struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *replacement) Header() http.Header         { return w.header }
func (w *replacement) WriteHeader(status int)      { w.status = status }
func (w *replacement) Write(b []byte) (int, error) { return w.body.Write(b) }
