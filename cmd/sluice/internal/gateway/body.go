package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// An upload is the body of a request on its way to the upstream. If it turns out
// to be larger than the tier allows, it ends the exchange.
type upload struct {
	io.ReadCloser
	exchange *exchange
	cancel   context.CancelCauseFunc
}

func (x *exchange) newUpload(cancel context.CancelCauseFunc) io.ReadCloser {
	body := x.request.Body
	if most := x.caller.tier.MaxBody(); most > 0 {
		// It is not given the writer, whose header belongs to the other goroutine.
		body = http.MaxBytesReader(nil, body, most)
	}
	return &upload{body, x, cancel}
}

// Read is called by the transport, also while the response is under way.
func (u *upload) Read(b []byte) (int, error) {
	n, err := u.ReadCloser.Read(b)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil || err == io.EOF:
	case errors.As(err, &tooLarge):
		u.cancel(errUploadTooLarge)
	default:
		u.exchange.uploadBroke.Store(true)
	}
	return n, err
}

// A download is the body of a response on its way to the client. At its end the
// lease is settled, before the last bytes go out: a client that runs one thing
// after the other finds its slot free.
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
		d.exchange.settle()
	case context.Cause(d.exchange.ctx) == nil:
		d.exchange.warn("upstream broke off its response", err)
	case errors.Is(context.Cause(d.exchange.ctx), errCeiling):
		d.exchange.warn("sync ceiling reached within the response", err)
	}
	return n, err
}
