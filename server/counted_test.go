package server_test

import (
	"fmt"
	"io"
	"net/http"
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
