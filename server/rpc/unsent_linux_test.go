package rpc

import (
	"crypto/tls"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/overten/sluice/server/secure"
	"github.com/overten/sluice/server/secure/pkitest"
)

// On a node, whose ports have a limit of connections, it was once never known what a client had
// not received: one that does not read was never given up.
func TestUnsentIsKnownBehindALimitOfConnections(t *testing.T) {
	a := pkitest.New(t, "a")
	own := a.Issue("node.test")
	g, err := secure.Open(secure.Port{Cert: own.Cert, Key: own.Key}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	with := a.Client(nil).Clone()
	with.ServerName = "node.test"
	for name, c := range map[string]struct{ server, client func(net.Conn) net.Conn }{
		"plain text": {func(c net.Conn) net.Conn { return c }, func(c net.Conn) net.Conn { return c }},
		"TLS": {
			func(c net.Conn) net.Conn { return g.Server(c) },
			func(c net.Conn) net.Conn { return tls.Client(c, with) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			lis = Listen(secure.Limit(lis, 1, slog.New(slog.DiscardHandler)))
			defer lis.Close()
			raw, err := net.Dial("tcp", lis.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			client := c.client(raw)
			accepted, err := lis.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn := accepted.(*fairConn)
			wrote := make(chan error, 1)
			go func() {
				_, err := c.server(conn).Write(make([]byte, 64<<20)) // more than fits between the two
				wrote <- err
			}()
			if _, err := client.Read(make([]byte, 1)); err != nil { // and no more
				t.Fatal(err)
			}
			awaitUnsent(t, conn)
			_ = raw.Close()
			_ = conn.Close()
			if <-wrote == nil {
				t.Error("all was written")
			}
		})
	}
}

func awaitUnsent(t *testing.T, c *fairConn) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; <-time.After(10 * time.Millisecond) {
		bytes, known := c.unsent()
		if known && bytes > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are unsent, known: %v", bytes, known)
		}
	}
}
