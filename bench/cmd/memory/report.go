package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// What a key may take at most, in bytes of the process's whole resident memory, and what
// is aimed for.
const (
	fewBar     = 120
	fewAim     = 85
	fullPerHit = 4.5
	fullPerKey = 100
)

// A report is what came out.
type report struct {
	Empty int64    `json:"empty_resident_bytes"`
	Few   []sample `json:"few_hits"`
	// Keys with a full window: just filled, and going on at their limit.
	Full    sample `json:"full"`
	Rolling sample `json:"rolling"`
}

// worst returns the sample with the most bytes a key.
func worst(samples []sample) sample {
	w := samples[0]
	for _, s := range samples {
		if s.PerKey > w.PerKey {
			w = s
		}
	}
	return w
}

// perHit returns what is left of perKey for each of so many hits once the key has had what
// it may take beside its hits.
func perHit(perKey float64, hits int) float64 { return (perKey - fullPerKey) / float64(hits) }

func writeHeading(w io.Writer) {
	fmt.Fprintf(w, "%10s %5s %10s %10s %10s %10s %10s %4s\n", "keys", "hits", "RSS MiB", "peak MiB", "heap MiB", "B/key", "B/key net", "GCs")
}

func (s sample) write(w io.Writer) {
	fmt.Fprintf(w, "%10d %5d %10.1f %10.1f %10.1f %10.1f %10.1f %4d\n",
		s.Keys, s.Hits, mib(s.Resident), mib(s.Peak), mib(int64(s.HeapInUse)), s.PerKey, s.PerKeyNet, s.Collections)
}

func (r report) writeText(w io.Writer) {
	few := worst(r.Few)
	fmt.Fprintf(w, "\nA key with %d hits: %.1f B at worst, with %d keys (net of the empty process %.1f). The bar is %d, the aim %d.\n",
		few.Hits, few.PerKey, few.Keys, few.PerKeyNet, fewBar, fewAim)
	fmt.Fprintf(w, "One of %d full keys; the bar is %.1f B a hit + %d B, %.0f B for %d hits:\n", r.Full.Keys, fullPerHit, fullPerKey, fullPerHit*fullHits+fullPerKey, fullHits)
	for _, l := range []struct {
		what string
		sample
	}{{"just filled", r.Full}, {"going on at its limit", r.Rolling}} {
		fmt.Fprintf(w, "  %-22s %5.0f = %.2f a hit + %d   (net of the empty process %.0f = %.2f a hit + %d)\n", l.what,
			l.PerKey, perHit(l.PerKey, l.Hits), fullPerKey, l.PerKeyNet, perHit(l.PerKeyNet, l.Hits), fullPerKey)
	}
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
