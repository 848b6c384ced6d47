package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// TestMain is also the program that the tests run as servers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		exitOn(serve(os.Args[2:]))
		return
	}
	os.Exit(m.Run())
}

// A whole measurement, too short to mean anything: every server answers every call, and
// none denies or fails one; the echoes' answers are as large as a node's.
func TestMeasure(t *testing.T) {
	o := options{
		against: []string{"same", "plain", "bare"}, pairs: 2, period: 50 * time.Millisecond, warmUp: 50 * time.Millisecond,
		workers: 4, conns: 2, keys: 1000, deadline: 30 * time.Second,
	}
	var progress bytes.Buffer
	rounds, err := measure(t.Context(), o, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if len(rounds) != 2 {
		t.Errorf("%d rounds, want 2", len(rounds))
	}
	for _, round := range rounds {
		for i, want := range []string{sluice, "same", "plain", "bare"} {
			if s := round[i]; s.Name != want || s.Calls == 0 || s.Failed > 0 || s.Denied > 0 || s.CPUPerCall <= 0 || s.P99Millis < s.P50Millis {
				t.Errorf("%+v, want calls to %s, none failed or denied", s, want)
			}
		}
	}
	if n := bytes.Count(progress.Bytes(), []byte("answers of 22 bytes")); n != 4 {
		t.Errorf("%d servers' answers have 22 bytes, want all 4:\n%s", n, &progress)
	}
}

func TestRequestsHaveKeysOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range makeRequests(100_000) {
		if seen[r.Key] || len(r.Key) != 32 {
			t.Fatalf("key %q is there twice, or not of 32 bytes", r.Key)
		}
		seen[r.Key] = true
	}
}
