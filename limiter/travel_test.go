package limiter

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"
)

// travelled returns a snapshot and changes in which everything occurs that can.
var travelled = sync.OnceValues(func() (snapshot, changes []byte) {
	table, other := sharedTable(panicker{}, Config{}), sharedTable(panicker{}, Config{})
	now := travelledAt - Instant(time.Second)
	tier, err := NewTier(TierSpec{Name: "tier", Windows: []Window{{1000, time.Minute}}, Concurrent: 9})
	if err != nil {
		panic(err)
	}
	for _, of := range []*Table{table, other} {
		of.Permit(0, forEver)
		of.Record(0, true)
	}
	for i := range uint64(12) {
		now = now.Add(7 * time.Millisecond)
		key := Key{0, Identity{i % 3, i % 3}}
		cost := Cost(1 + i*i)
		a := &Acquisition{
			Key: key, Tier: tier, Run: RunHash{i, i}, RunID: "run", TaskID: "task", RequestID: "request", TTL: MinTTL, Nonce: i, Cost: &cost,
		}
		if _, err := table.Acquire(a, now); err != nil {
			panic(err)
		}
		if i%4 == 0 {
			table.Release(LeaseRef{Key: key, Run: a.Run, Nonce: i}, now)
		}
		other.Check(key, stepTiers[8], 1, now)
	}
	b, _ := other.Snapshot(nil, 0, 0)
	table.Doubt(0, Recovering, now, false)
	table.Doubt(0, Degraded, now, true)
	table.Check(Key{0, Identity{0, 0}}, stepTiers[6], 0, now)
	table.Renew(LeaseRef{Key: Key{0, Identity{5, 5}}, Nonce: 99}, MinTTL, tier, now)
	if err := table.Merge(0, []Piece{{Bytes: b}}, 0, now); err != nil {
		panic(err)
	}
	table.Prolong(0, time.Second, now)
	snapshot, _ = table.Snapshot(nil, 0, 0)
	table.Reset(Key{0, Identity{1, 1}}, now)
	return snapshot, table.Take(0).Bytes
})

// panicker fails where there is no test that could.
type panicker struct{ failer }

func (panicker) Helper()        {}
func (panicker) Fatal(a ...any) { panic(fmt.Sprint(a...)) }

const travelledAt = Instant(100 * time.Hour)

// load is how bytes get into a table.
type load func(*Table, []byte, time.Duration) error

var (
	install load = func(t *Table, b []byte, shift time.Duration) error {
		return t.Install(0, b, shift, travelledAt)
	}
	apply load = func(t *Table, b []byte, shift time.Duration) error { return t.Apply(0, b, shift, travelledAt) }
	merge load = func(t *Table, b []byte, shift time.Duration) error {
		return t.Merge(0, []Piece{{Bytes: b}}, shift, travelledAt)
	}
)

// loadAny loads bytes into a table that has a state, and demands that an error leaves that
// as it was, and that what is taken can be decided by, and travels on.
func loadAny(t failer, load load, b []byte, shift time.Duration) error {
	t.Helper()
	table := sharedTable(t, Config{})
	table.Permit(0, forEver)
	snapshot, _ := travelled()
	if err := install(table, snapshot, 0); err != nil {
		t.Fatal(err)
	}
	table.Record(0, true)
	before := table.partitions[0].append(nil, 0, 0)
	pages := table.records.next - uint32(len(table.records.free)) + table.chunks.next - uint32(len(table.chunks.free))
	err := load(table, b, shift)
	if err != nil {
		after := table.partitions[0].append(nil, 0, 0)
		left := table.records.next - uint32(len(table.records.free)) + table.chunks.next - uint32(len(table.chunks.free))
		if !bytes.Equal(before, after) || table.Take(0).Last != 0 || pages != left {
			t.Fatalf("%v, but something changed; %d pages held, then %d", err, pages, left)
		}
		return err
	}
	if table.Keys() != table.KeysOf(0) {
		t.Fatalf("%d keys, %d in the partition", table.Keys(), table.KeysOf(0))
	}
	checkOrder(t, &table.partitions[0].records)
	next := sharedTable(t, Config{})
	again, _ := table.Snapshot(nil, 0, 0)
	if err := install(next, again, 0); err != nil {
		t.Fatalf("what was taken does not travel on: %v", err)
	}
	next.Permit(0, forEver)
	now := travelledAt
	for i := range 60 {
		key := Key{0, Identity{uint64(i % 4), uint64(i % 4)}}
		tier := stepTiers[i%len(stepTiers)]
		d := table.Check(key, tier, Cost(i%3), now)
		if d2 := next.Check(key, tier, Cost(i%3), now); d != d2 {
			t.Fatalf("decided as %+v, then as %+v", d, d2)
		}
		now = now.Add(time.Duration(i*i) * time.Millisecond)
	}
	table.Sweep(now.Add(2*MaxPer), 1000)
	return nil
}

func fuzzLoad(f *testing.F, load load) {
	snapshot, changes := travelled()
	for _, b := range [][]byte{snapshot, changes, nil} {
		f.Add(b, int64(0))
		f.Add(b, int64(-200*time.Hour))
		for i := 0; i < len(b); i += 1 + len(b)/20 {
			f.Add(b[:i], int64(time.Millisecond))
			damaged := bytes.Clone(b)
			damaged[i] ^= 0x84
			f.Add(damaged, int64(1))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, shift int64) { _ = loadAny(t, load, b, time.Duration(shift)) })
}

func FuzzInstall(f *testing.F) { fuzzLoad(f, install) }
func FuzzApply(f *testing.F)   { fuzzLoad(f, apply) }
func FuzzMerge(f *testing.F)   { fuzzLoad(f, merge) }

// Bytes that end too early are refused wherever they end, and so is the wrong format.
func TestTruncatedStateIsRefused(t *testing.T) {
	snapshot, changes := travelled()
	for n := range snapshot {
		if err := loadAny(t, install, snapshot[:n], 0); err == nil {
			t.Fatalf("%d bytes of a snapshot of %d were taken", n, len(snapshot))
		}
	}
	refused := 0
	for n := range changes {
		if err := loadAny(t, apply, changes[:n], 0); err != nil {
			refused++
		}
	}
	if whole := len(changes) - refused; whole > 60 { // it may end after any change
		t.Errorf("%d beginnings of changes were taken", whole)
	}
	if loadAny(t, install, changes, 0) == nil || loadAny(t, apply, snapshot, 0) == nil || loadAny(t, merge, []byte{0x33}, 0) == nil {
		t.Error("another format was taken")
	}
	for _, of := range []error{loadAny(t, install, snapshot, 0), loadAny(t, apply, changes, 0), loadAny(t, merge, snapshot, 0), loadAny(t, merge, changes, 0)} {
		if of != nil {
			t.Errorf("whole: %v", of)
		}
	}
}
