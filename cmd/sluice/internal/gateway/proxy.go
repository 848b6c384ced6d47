package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/overten/sluice/limiter/contract"
)

// Why the call of an upstream was ended, as the cause of its context.
var (
	errCeiling        = errors.New("the sync ceiling was reached")
	errUploadTooLarge = errors.New("the upload is larger than the tier allows")
)

// ownHeaders are those that upstreams take for the gateway's word.
var ownHeaders = []string{
	LeaseHeader, contract.HeaderRequestID, "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
}

// newTransport returns what calls an upstream. It takes no proxy from the
// environment: the upstream is named, and near.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true, // bodies pass as they are
	}
}

// forward proxies the request, and returns when its response is complete.
func (x *exchange) forward() {
	g := x.gateway
	ctx, cancel := context.WithCancelCause(x.request.Context())
	defer cancel(nil)
	x.ctx = ctx
	client := http.NewResponseController(x.out)
	x.ceiling.set(g.config.SyncCeiling, client, func() { cancel(errCeiling) })
	x.out.ctx = ctx

	out := x.request.WithContext(ctx)
	if r := x.request; r.Body != nil && r.Body != http.NoBody {
		x.out.upload = x.newUpload(cancel)
		out.Body = x.out.upload
		// Else net/http would throw away what is left of the upload when the upstream
		// begins its answer, and hold the answer back until it has.
		_ = client.EnableFullDuplex()
	}
	x.out.Header().Del(contract.HeaderRequestID) // it is set when the response begins
	proxy := httputil.ReverseProxy{
		Transport:      g.transport,
		Rewrite:        x.rewrite,
		ModifyResponse: x.receive,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { x.fail(err) },
		ErrorLog:       g.debugLog(),
		BufferPool:     &g.buffers,
	}
	proxy.ServeHTTP(x.out, out)
}

// rewrite makes the request that the upstream gets. Hop-by-hop headers and all
// X-Forwarded headers are gone already. Authorization stays: the API needs it.
func (x *exchange) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In.Header, pr.Out.Header
	pr.SetURL(x.gateway.upstream)
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as it came: no rule of the gateway reads it
	if !strings.EqualFold(out.Get("Upgrade"), "websocket") {
		// Behind another protocol, such as h2c, are requests that nobody would count.
		out.Del("Upgrade")
		out.Del("Connection")
		out.Del("Http2-Settings")
	}
	removeSpellings(out, ownHeaders...)
	if contains(x.gateway.config.TrustedProxies, parseHop(pr.In.RemoteAddr)) {
		out["X-Forwarded-For"] = in["X-Forwarded-For"] // to be appended to
		pr.SetXForwarded()
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v := in.Get(name); v != "" {
				out.Set(name, v)
			}
		}
	} else {
		pr.SetXForwarded()
	}
	if id := x.lease.ID(); id != "" {
		out.Set(LeaseHeader, id)
	}
	out.Set(contract.HeaderRequestID, x.id) // a Connection header may have taken it away
}

// receive looks at the upstream's answer before any of it is passed on.
func (x *exchange) receive(res *http.Response) error {
	x.upstreamStatus = res.StatusCode
	strip(res.Header)
	strip(res.Trailer)
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.ceiling.lift() // an upgraded connection lives as long as it likes
		x.out.dress()    // this response does not go through WriteHeader
		return nil
	}
	if res.StatusCode >= 400 {
		if err := x.checkError(res); err != nil {
			return err
		}
	}
	res.Body = &download{ReadCloser: res.Body, exchange: x, response: res}
	return nil
}

// fail answers a request for which there is no response of the upstream.
func (x *exchange) fail(err error) {
	cause := context.Cause(x.ctx)
	switch {
	case errors.Is(cause, errCeiling):
		x.warn("sync ceiling reached", err)
		x.refuse(contract.Error{Code: contract.SyncTimeoutUpgradeAsync}, 0)
	case errors.Is(cause, errUploadTooLarge):
		x.refuse(contract.Error{Code: contract.PayloadTooLarge}, 0)
	case cause != nil: // the client has gone, or the gateway is shutting down
		x.abort()
	case x.uploadBroke.Load():
		x.refuse(contract.Error{Code: contract.InvalidRequest, Message: "The body of the request could not be read."}, 0)
	default:
		x.warn("upstream failed", err)
		x.refuse(contract.Error{Code: contract.UpstreamError}, 0)
	}
}

// A bufferPool keeps the buffers that bodies are copied through.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

func (p *bufferPool) Put(b []byte) {
	if len(b) == bufferSize {
		p.pool.Put((*[bufferSize]byte)(b))
	}
}
