package main

import "testing"

func TestWorst(t *testing.T) {
	samples := []sample{{held: held{Keys: 1}, PerKey: 90}, {held: held{Keys: 2}, PerKey: 95}, {held: held{Keys: 3}, PerKey: 89}}
	if got := worst(samples); got.Keys != 2 {
		t.Errorf("the worst is %+v, want that with 95 B a key", got)
	}
}

func TestPerHit(t *testing.T) {
	if got := perHit(2800, 600); got != 4.5 {
		t.Errorf("2,800 B a key of 600 hits is %v B a hit, want 4.5", got)
	}
}
