package rpc

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// What the memory of a batch held is gone when the next gets it, and a shorter one finds nothing of it.
func TestMemoryOfABatchGoesOnEmpty(t *testing.T) {
	of := func(keys int) []byte {
		var b []byte
		for range keys {
			item := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "a key")
			b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), item)
		}
		return b
	}
	for _, keys := range []int{20, 3, 0, keptChecks, keptChecks + 1, 7} {
		var m batch
		if items, ok := m.parse(of(keys), 1, func(*wireField) {}); items != keys || !ok || len(m.checks) != keys {
			t.Fatalf("%d checks: %d items, %v, %d checks were parsed", keys, items, ok, len(m.checks))
		}
		memory := m.checks[:cap(m.checks)]
		if rest := memory[keys:]; slices.ContainsFunc(rest, func(c check) bool { return c != check{} }) {
			t.Errorf("%d checks: there are others behind them", keys)
		}
		m.forget()
		if slices.ContainsFunc(memory, func(c check) bool { return c != check{} }) || m.checks != nil {
			t.Errorf("%d checks: something is left of them", keys)
		}
	}
}
