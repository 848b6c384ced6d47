package admin_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// get asks for a page on a connection of its own.
func (r *rig) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + r.addr + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return resp.StatusCode, string(b)
}

// One port serves what Prometheus collects, profiles and gRPC.
func TestPagesBesideCalls(t *testing.T) {
	r := serve(t, &fakeCluster{members: func(context.Context) []member { return nil }}, tiers(t))
	for path, want := range map[string]string{
		"/metrics": "some 1\n", "/livez": "ok\n", "/readyz": "ok\n", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile:", "/debug/pprof/cmdline": "test",
	} {
		if code, body := r.get(t, path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, %q; want it to hold %q", path, code, body, want)
		}
	}
	if code, _ := r.get(t, "/nothing"); code != 404 {
		t.Errorf("a page that there is not: %d", code)
	}
	if _, err := r.Members(t.Context(), &adminv1.MembersRequest{}); err != nil {
		t.Error(err)
	}
}

// A profile that takes a minute holds up no shutdown.
func TestShutdownEndsProfile(t *testing.T) {
	r := serve(t, &fakeCluster{}, tiers(t))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r.get(t, "/debug/pprof/profile?seconds=60")
	}()
	for begun := false; !begun && !t.Failed(); {
		_, stacks := r.get(t, "/debug/pprof/goroutine?debug=2")
		begun = strings.Contains(stacks, "pprof.Profile(")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-answered
}
