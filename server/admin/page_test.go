package admin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/server/admin"
	"github.com/overten/sluice/server/admin/statusz"
	"github.com/overten/sluice/server/secure"
)

// withPage has the server show the page of a node of which one partition is held by c.
func withPage(c *admin.Config) {
	c.Page = &statusz.Node{
		Self:      func() statusz.Self { return statusz.Self{NodeStatus: peer.NodeStatus{Name: "b"}} },
		Placement: func() (owners, holders []string) { return []string{"c"}, []string{"c"} },
		Rates:     new(statusz.Rates),
		Clock:     func() (limiter.Instant, time.Time) { return now, time.Unix(0, 0) },
	}
}

// explain sends the form of the page.
func (r *rig) explain(t *testing.T, key, token string) (code int, page string) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+r.addr+"/statusz", strings.NewReader(url.Values{"key": {key}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func threeUp(context.Context) []member {
	return []member{up("a", 1, "p"), up("b", 1, "p"), silent("c")}
}

// The page shows what the calls tell, and what goes wrong is handled as in those.
func TestPage(t *testing.T) {
	c := &fakeCluster{members: threeUp}
	c.inspect = func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) { return held(), nil }
	r := serve(t, c, tiers(t), withPage)
	if code, page := r.get(t, "/statusz"); code != 200 || !strings.Contains(page, "c does not answer: connection refused") {
		t.Errorf("%d: %s", code, page)
	}
	code, page := r.explain(t, "sk_live_1", "")
	if code != 200 || !strings.Contains(page, r.hasher.Key("sk_live_1").ID.String()) || len(c.asked) != 1 || c.asked[0] != r.hasher.Key("sk_live_1") {
		t.Errorf("%d, asked for %v", code, c.asked)
	}
	if code, page := r.explain(t, strings.Repeat("k", 257), ""); code != 400 || !strings.Contains(page, "key: has 257 bytes") {
		t.Errorf("a long key: %d", code)
	}
	c.inspect = func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) {
		return peer.KeyStatus{}, errors.New("no holder is known")
	}
	if code, page := r.explain(t, "sk_live_1", ""); code != 503 || !strings.Contains(page, "no holder is known") {
		t.Errorf("no holder: %d", code)
	}
	c.inspect = func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) { panic("a bug") }
	if code, page := r.explain(t, "sk_live_1", ""); code != 500 || strings.Contains(page, "a bug") || !strings.Contains(page, "see its log under request") {
		t.Errorf("a fault of ours: %d: %s", code, page)
	}
	if log := r.log.String(); strings.Contains(log, "sk_live") || !strings.Contains(log, "a bug") {
		t.Errorf("the log: %s", log)
	}
}

// A fault in the page itself is told as little, and logged.
func TestPageThatPanics(t *testing.T) {
	r := serve(t, &fakeCluster{members: threeUp}, tiers(t), withPage, func(c *admin.Config) {
		c.Page.Self = func() statusz.Self { panic("a bug") }
	})
	if code, page := r.get(t, "/statusz"); code != 500 || strings.Contains(page, "a bug") || !strings.Contains(page, "see its log under request") {
		t.Errorf("%d: %s", code, page)
	}
	if log := r.log.String(); !strings.Contains(log, "level=ERROR msg=panic page=/statusz") {
		t.Errorf("the log: %s", log)
	}
}

// Who may not make calls may not see the page either.
func TestPageIsGuarded(t *testing.T) {
	const token = "a token of an operator"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &fakeCluster{members: threeUp}
	c.inspect = func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) { return held(), nil }
	r := serve(t, c, tiers(t), withPage, func(c *admin.Config) {
		guard, err := secure.Open(secure.Port{Name: "admin", TokenFile: file}, c.Log, "h2", "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		c.Guard = guard
	})
	if code, page := r.get(t, "/statusz"); code != 401 || strings.Contains(page, "Members") {
		t.Errorf("a stranger: %d: %s", code, page)
	}
	if code, _ := r.explain(t, "sk_live_1", ""); code != 401 || len(c.asked) > 0 {
		t.Errorf("a stranger's form: %d, asked for %v", code, c.asked)
	}
	if code, _ := r.explain(t, "sk_live_1", token); code != 200 {
		t.Errorf("an operator: %d", code)
	}
}
