package limiter

import (
	"encoding/binary"
	"encoding/hex"
	flags "flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var update = flags.Bool("update", false, "write the golden files that are missing")

// A goldenStep is something that changes a partition, and the kind of change that it is first
// of all.
type goldenStep struct {
	name string
	kind byte
	do   func() error
}

// goldenStory plays on a table what changes partitions in every way there is, and returns the
// changes of each step, by its name, and the state in the end.
func goldenStory(t *testing.T, table *Table, now Instant) (steps []goldenStep, changes map[string][]byte, state []byte) {
	t.Helper()
	small := goldenTier(t, TierSpec{Name: "small", Windows: []Window{{Limit: 10, Per: time.Minute}}, Concurrent: 3})
	large := goldenTier(t, TierSpec{Name: "large", Windows: []Window{{Limit: 20_000, Per: time.Hour}}, Concurrent: 3})
	key, other := Key{1, Identity{1, 2}}, Key{1, Identity{3, 4}}
	acquire := func(run RunHash) error {
		_, err := table.Acquire(&Acquisition{Key: key, Tier: small, Run: run, RunID: "r", TaskID: "t", RequestID: "q", TTL: 10 * time.Minute, Nonce: 7}, now)
		return err
	}
	check := func(k Key, tier *Tier) func() error {
		return func() error { table.Check(k, tier, 3, now); return nil }
	}
	elsewhere := sharedTable(t, Config{})
	elsewhere.Permit(1, forEver)
	elsewhere.Check(key, small, 2, now.Add(-time.Second))
	theirs, _ := elsewhere.Snapshot(nil, 1, 0)
	steps = []goldenStep{
		{"first", changeLargest, check(key, small)},
		{"hit", changeHit, check(key, small)},
		{"largest", changeLargest, check(other, large)},
		{"kept", changeKept, func() error { table.Check(key, large, 0, now); return nil }},
		{"lease", changeLease, func() error { return acquire(RunHash{5, 6}) }},
		{"second-lease", changeLease, func() error { return acquire(RunHash{8, 9}) }},
		{"released", changeReleased, func() error {
			_, err := table.Release(LeaseRef{Key: key, Tier: 1, Run: RunHash{8, 9}, Nonce: 7}, now)
			return err
		}},
		{"prolonged", changeProlonged, func() error { table.Prolong(1, time.Second, now.Add(-time.Second)); return nil }},
		{"united", changeUnited, func() error { return table.Merge(1, []Piece{{Bytes: theirs}}, 0, now) }},
		{"reset", changeReset, func() error { _, err := table.Reset(other, now); return err }},
		{"doubt", changeDoubt, func() error { table.Doubt(1, Recovering, now, true); return nil }},
	}
	table.Permit(1, forEver)
	table.Record(1, true)
	changes = map[string][]byte{}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		changes[step.name] = table.Take(1).Bytes
		now = now.Add(time.Second)
	}
	state, _ = table.Snapshot(nil, 1, 0)
	return steps, changes, state
}

func goldenTier(t *testing.T, spec TierSpec) *Tier {
	t.Helper()
	tier, err := NewTier(spec)
	if err != nil {
		t.Fatal(err)
	}
	return tier
}

// firstKind is the kind of the first of changes.
func firstKind(b []byte) byte {
	if len(b) == 0 || b[0] != formatChanges {
		return 0
	}
	b = b[1:]
	for range 2 { // the base, and the largest limit
		_, n := binary.Uvarint(b)
		b = b[n:]
	}
	return b[0]
}

// Versions of the binary hand partitions over to each other: bytes that one has sent must keep
// their meaning, those of states, of each kind of change, and of leases' ids. A golden file is never
// written anew; what is added gets one of its own, which -update writes.
func TestTheEncodingStaysAsItIs(t *testing.T) {
	const now = Instant(100 * 24 * time.Hour)
	table := sharedTable(t, Config{})
	steps, changes, state := goldenStory(t, table, now)
	files := map[string][]byte{"state": state}
	kinds := map[byte]bool{}
	for _, step := range steps {
		if got := firstKind(changes[step.name]); got != step.kind {
			t.Errorf("%s begins with a change of kind %d, want %d", step.name, got, step.kind)
		}
		kinds[step.kind] = true
		files["change-"+step.name] = changes[step.name]
	}
	for kind := byte(changeHit); kind <= changeDoubt; kind++ {
		if !kinds[kind] {
			t.Errorf("there is no golden change of kind %d", kind)
		}
	}
	ours, _ := testSealers(t)
	files["lease-id"] = []byte(ours.Seal(testRef))
	read := map[string][]byte{}
	for name, got := range files {
		file := filepath.Join("testdata", "golden", name+".hex")
		if _, err := os.Stat(file); *update && os.IsNotExist(err) {
			if err := os.WriteFile(file, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != hex.EncodeToString(got)+"\n" {
			t.Errorf("%s is now %x, want %s", name, got, text)
		}
		if read[name], err = hex.DecodeString(string(text[:len(text)-1])); err != nil {
			t.Fatal(err)
		}
	}

	// It is read as it was meant: the state, and the changes one after the other.
	whole, followed := sharedTable(t, Config{}), sharedTable(t, Config{})
	if err := whole.Install(1, read["state"], 0, now); err != nil {
		t.Fatal(err)
	}
	if err := followed.Install(1, emptyState(t), 0, now); err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if err := followed.Apply(1, read["change-"+step.name], 0, now.Add(time.Minute)); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	key := Key{1, Identity{1, 2}}
	want, _ := table.Inspect(key, now.Add(time.Minute))
	for name, of := range map[string]*Table{"the state": whole, "the changes": followed} {
		if got, ok := of.Inspect(key, now.Add(time.Minute)); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("by %s the key is\n%+v, want\n%+v", name, got, want)
		}
	}
	if ref, ok := ours.Open(string(read["lease-id"])); !ok || ref != testRef {
		t.Errorf("the lease id is %+v, %v", ref, ok)
	}
}

// emptyState is the state of a partition that nothing has happened to.
func emptyState(t *testing.T) []byte {
	b, _ := sharedTable(t, Config{}).Snapshot(nil, 1, 0)
	return b
}
