package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// An upload is the body of a request on its way to the upstream. If it turns out
// to be larger than the tier allows, it ends the exchange.
type upload struct {
	io.ReadCloser
	exchange *exchange
	cancel   context.CancelCauseFunc
	complete atomic.Bool // all of it was read

	mu   sync.Mutex // held during each Read; guards what follows
	left bool
}

func (x *exchange) newUpload(cancel context.CancelCauseFunc) *upload {
	body := x.request.Body
	if most := x.caller.tier.MaxBody(); most > 0 {
		// It is not given the writer, whose header belongs to the other goroutine.
		body = http.MaxBytesReader(nil, body, most)
	}
	return &upload{ReadCloser: body, exchange: x, cancel: cancel}
}

// Read is called by the transport, also while the response is under way.
func (u *upload) Read(b []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.left {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := u.ReadCloser.Read(b)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
	case err == io.EOF:
		u.complete.Store(true)
	case errors.As(err, &tooLarge):
		u.cancel(errUploadTooLarge)
	default:
		u.exchange.uploadBroke.Store(true)
	}
	return n, err
}

// leave ends the reading of an upload that the exchange does not wait for: a Read
// under way too, since net/http would wait for it, and with it the end of the
// answer. Then net/http reads some of the rest, so that a client which still sends
// can read its answer, until the deadline that is set here.
func (u *upload) leave(client *http.ResponseController, aborted bool) {
	x := u.exchange
	if client.SetReadDeadline(time.Now()) != nil {
		return // the connection is no more, or is not net/http's
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.left = true
	if !aborted && !x.ceiling.reached() {
		_ = client.SetReadDeadline(time.Now().Add(x.gateway.patience))
	}
}

// A download is the body of a response on its way to the client. At its end the
// lease is settled, before the last bytes go out: a client that runs one thing
// after the other finds its slot free. The ceiling is not for that: at its read
// deadline net/http would give up a connection that has another request to come.
type download struct {
	io.ReadCloser
	exchange *exchange
	response *http.Response
}

func (d *download) Read(b []byte) (int, error) {
	n, err := d.ReadCloser.Read(b)
	switch {
	case err == nil:
	case err == io.EOF:
		strip(d.response.Trailer)
		d.exchange.ceiling.lift()
		d.exchange.settle()
		d.exchange.ceiling.boundLastBytes(time.Now())
	case context.Cause(d.exchange.ctx) == nil:
		d.exchange.warn("upstream broke off its response", err)
	case errors.Is(context.Cause(d.exchange.ctx), errCeiling):
		d.exchange.warn("sync ceiling reached within the response", err)
	}
	return n, err
}
