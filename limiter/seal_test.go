package limiter

import (
	"strings"
	"testing"
)

func testSealers(t testing.TB) (ours, theirs *Sealer) {
	a, err1 := NewSecrets([]byte("the secret of this cluster"))
	b, err2 := NewSecrets([]byte("the secret of another one!"))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return NewSealer(a, 1021), NewSealer(b, 1021)
}

var testRef = LeaseRef{
	Key: Key{1020, Identity{1, 1<<64 - 1}}, Tier: 7, Run: RunHash{2, 3}, Nonce: 1 << 63,
}

func TestSealOpensOnlyWhatItSealed(t *testing.T) {
	ours, theirs := testSealers(t)
	id := ours.Seal(testRef)
	if len(id) != LeaseIDLen {
		t.Errorf("id has %d characters, want %d", len(id), LeaseIDLen)
	}
	if ref, ok := ours.Open(id); !ok || ref != testRef {
		t.Fatalf("opened %+v, %v", ref, ok)
	}
	if _, ok := theirs.Open(id); ok {
		t.Error("another cluster opened it")
	}
	for i := range len(id) {
		for _, c := range []byte{'A', 'B', '-', '_', '=', '\n', 0x80} {
			if forged := id[:i] + string(rune(c)) + id[i+1:]; forged != id {
				if _, ok := ours.Open(forged); ok {
					t.Errorf("opened with %q at %d", c, i)
				}
			}
		}
	}
	for _, bad := range []string{"", "A", id[1:], id + "A", strings.ToLower(id), strings.Repeat("A", LeaseIDLen)} {
		if _, ok := ours.Open(bad); ok {
			t.Errorf("opened %q", bad)
		}
	}
}

// An id with line ends in it, which base64 passes over, once made Open panic.
func TestOpenRefusesLineEnds(t *testing.T) {
	ours, _ := testSealers(t)
	id := ours.Seal(testRef)
	for _, bad := range []string{strings.Repeat("\n", LeaseIDLen), id[:80] + strings.Repeat("\r", LeaseIDLen-80), id[:LeaseIDLen-1] + "\n"} {
		if _, ok := ours.Open(bad); ok {
			t.Errorf("opened %q", bad)
		}
	}
}

// A lease of a cluster with more partitions is none of ours.
func TestOpenRefusesUnknownPartition(t *testing.T) {
	ours, _ := testSealers(t)
	fewer := *ours
	fewer.partitions = 1020
	if _, ok := fewer.Open(ours.Seal(testRef)); ok {
		t.Error("opened a lease of partition 1020 of 1020")
	}
}

func FuzzLeaseID(f *testing.F) {
	ours, _ := testSealers(f)
	good := ours.Seal(testRef)
	f.Add(good)
	f.Add("")
	f.Add(good[:LeaseIDLen-1] + "=")
	f.Add(strings.Repeat("_", LeaseIDLen))
	f.Fuzz(func(t *testing.T, id string) {
		if ref, ok := ours.Open(id); ok && ours.Seal(ref) != id {
			t.Errorf("%q opened as %+v, which seals otherwise", id, ref)
		}
	})
}
