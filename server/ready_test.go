package server_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/server"
)

// page asks a member for a page of its operators' port; status 0 is that it does not answer.
func (m *member) page(path string) (status int, body string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + m.AdminAddr() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func withAdmin(c *server.Config) { c.Admin = "127.0.0.1:0" }

// A node is not ready before it has joined, is when it has settled, and no longer is when it
// drains; that others are gone makes no difference. It lives all the while.
func TestReady(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := lis.Addr().String()
	lis.Close()
	c := newNodes(t)
	c.seeds = []string{nobody} // it waits for that one
	waiting := c.launch("waiting", withAdmin)
	if status, why := waiting.page("/readyz"); status != 503 || !strings.Contains(why, "joining") {
		t.Errorf("before it has joined: %d %q", status, why)
	}
	if status, body := waiting.page("/livez"); status != 200 || body != "ok" {
		t.Errorf("livez: %d %q", status, body)
	}
	delete(c.by, "waiting")
	waiting.end(t)

	c.seeds = nil
	a := c.start("a", withAdmin)
	b := c.start("b", withAdmin)
	for _, m := range []*member{a, b} {
		c.eventually(10*time.Second, "both are ready", func() bool {
			status, body := m.page("/readyz")
			return status == 200 && body == "ok"
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.end(t)
	}()
	delete(c.by, "b")
	c.eventually(10*time.Second, "b says that it drains", func() bool {
		status, why := b.page("/readyz")
		return status == 503 && why == "draining"
	})
	<-ended
	if status, body := a.page("/readyz"); status != 200 {
		t.Errorf("with the other gone: %d %q", status, body)
	}
}
