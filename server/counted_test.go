package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server"
)

// A node counts what it answers, whichever node decides it, and tells on its admin port.
func TestNodesCountWhatTheyAnswer(t *testing.T) {
	c := newNodes(t)
	withAdmin := func(c *server.Config) { c.Admin = "127.0.0.1:0" }
	c.start("a", withAdmin)
	b := c.start("b", withAdmin)
	batch := new(sluicev1.CheckBatchRequest)
	for i := range 100 { // some are held by each
		batch.Checks = append(batch.Checks, &sluicev1.CheckRequest{Key: fmt.Sprint(i), Tier: "ten"})
	}
	if _, err := b.rpc.CheckBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for range 11 {
		if _, err := b.rpc.Check(t.Context(), &sluicev1.CheckRequest{Key: "k", Tier: "ten"}); err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + b.AdminAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`sluice_decisions_total{exactness="exact",reason="allowed",tier="ten"} 110`,
		`sluice_decisions_total{exactness="exact",reason="rate_limited",tier="ten"} 1`,
		`sluice_calls_total{code="OK",method="Check"} 11`,
	} {
		if !strings.Contains(string(all), "\n"+line+"\n") {
			t.Errorf("%s is missing from\n%s", line, all)
		}
	}
}

// What nodes know of themselves adds up: partitions, leases, and calls that one passed on to the
// other.
func TestNodesTellHowTheyAre(t *testing.T) {
	c := newNodes(t)
	a := c.start("a", withAdmin)
	b := c.start("b", withAdmin)
	const keys = 60
	for i := range keys {
		resp, err := a.rpc.Acquire(t.Context(), &sluicev1.AcquireRequest{Key: key(i), Tier: "ten", RunId: "run", TtlMs: 60_000})
		if err != nil || !resp.Granted {
			t.Fatal(resp, err)
		}
	}
	of := func(m *member, series string) float64 {
		t.Helper()
		_, all := m.page("/metrics")
		for line := range strings.Lines(all) {
			if value, ok := strings.CutPrefix(line, series+" "); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatalf("%s is missing from\n%s", series, all)
		return 0
	}
	both := func(series string) float64 { t.Helper(); return of(a, series) + of(b, series) }
	for series, want := range map[string]float64{
		`sluice_leases_in_use`:                keys,
		`sluice_partitions{state="held"}`:     server.Partitions,
		`sluice_partitions{state="copies"}`:   server.Partitions,
		`sluice_partitions{state="uncopied"}`: 0,
		`sluice_members`:                      4,
		`sluice_keys`:                         2 * keys, // each once with its copy
	} {
		if got := both(series); got != want {
			t.Errorf("%s: %v together, want %v", series, got, want)
		}
	}
	on, received := of(a, `sluice_forwards_total{result="decided"}`), of(b, `sluice_forwards_received_total`)
	if on < 1 || on >= keys || received < on {
		t.Errorf("a passed on %v calls that were decided, b received %v", on, received)
	}
	if views := of(a, `sluice_view_changes_total`); views < 2 {
		t.Errorf("a went by %v views, want one alone and one of two", views)
	}
	if taken, used := of(a, `sluice_table_bytes`), of(a, `sluice_table_used_bytes`); used <= 0 || taken < used {
		t.Errorf("%v bytes taken, %v used", taken, used)
	}
}
