package secure_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/overten/sluice/server/secure"
)

// Behind the limit a connection once had no end for what is written: a refusal of what was too large was
// lost when the connection was closed while more came.
func TestARefusalArrivesBehindTheLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.NotFoundHandler(), MaxHeaderBytes: 1 << 10, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(secure.Limit(inner, 10, quiet)) }()
	defer func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-served
	}()
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	large := append([]byte("GET / HTTP/1.1\r\nHost: a\r\nX-Large: "), bytes.Repeat([]byte("x"), 64<<10)...)
	if _, err := c.Write(large); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 431 ")) {
		t.Errorf("%q, %v; want a 431 and an end", answer, err)
	}
}

// What has no such end says so.
func TestCloseWriteOfAPipe(t *testing.T) {
	pipe, end := net.Pipe()
	defer end.Close()
	c, err := secure.Limit(only{pipe}, 1, quiet).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err == nil {
		t.Error("the end of a pipe's writing was said")
	}
}
