package server_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// An operator's connection that stalls once delayed that a node leaves until the deadline of its
// shutdown.
func TestAStalledOperatorHoldsUpNoShutdown(t *testing.T) {
	c := newNodes(t)
	a := c.start("a", withAdmin)
	conn, err := net.Dial("tcp", a.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx"); err != nil {
		t.Fatal(err)
	}
	c.eventually(5*time.Second, "the node waits for the body", func() bool {
		_, stacks := a.page("/debug/pprof/goroutine?debug=2")
		return strings.Contains(stacks, "net/http.(*body).")
	})
	delete(c.by, "a")
	begun := time.Now()
	a.end(t)
	if took := time.Since(begun); took > 7*time.Second { // the body alone has 10
		t.Errorf("the shutdown took %v", took)
	}
}
