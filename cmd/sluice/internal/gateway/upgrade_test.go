package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/overten/sluice/limiter/contract"
)

// Only a WebSocket is asked for: behind h2c there would be requests that no limit,
// no route and no removal of headers reaches.
func TestUpgradeIsToWebSocketsOnly(t *testing.T) {
	seen := make(chan http.Header, 1)
	r := newRig(t, setup{upstream: func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }})
	for protocol, want := range map[string]string{
		"websocket": "websocket", "WebSocket": "WebSocket",
		"h2c": "", "H2C": "", "websocket, h2c": "", "TLS/1.0": "", "": "",
	} {
		for _, connection := range []string{"Upgrade, HTTP2-Settings", "Upgrade"} {
			conn := r.dial(t)
			fmt.Fprintf(conn, "GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
				"Connection: %s\r\nConnection: close\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", pro, connection, protocol)
			io.Copy(io.Discard, conn)
			h := <-seen
			if got := h.Get("Upgrade"); got != want || (h.Get("Connection") == "Upgrade") != (want != "") {
				t.Errorf("%q: Upgrade is %q, Connection %q; want %q", protocol, got, h.Get("Connection"), want)
			}
			if got := h.Get("Http2-Settings"); got != "" && want == "" {
				t.Errorf("%q: HTTP2-Settings is %q", protocol, got)
			}
		}
	}
}

// An upstream that upgrades by itself opens no tunnel.
func TestUpgradeThatWasNotAskedFor(t *testing.T) {
	for _, named := range []string{"", "Connection: Upgrade\r\nUpgrade: h2c\r\n"} {
		r := newRig(t, setup{at: answering(t, "HTTP/1.1 101 Switching Protocols\r\n"+named+"\r\n")})
		r.request(t, "GET", "/", free, nil).wantError(t, contract.UpstreamError)
	}
}
