package gossip

import (
	"encoding/hex"
	"testing"
)

// goldenMeta is fullMeta as it was first told to others.
const goldenMeta = "0101ffff800000000000000000000000000000010000010000000000ffffffffffffffff08736c756963652d300d31302e302e302e313a373037310e5b666430303a3a315d3a373037300d31302e302e302e313a37303930"

// Versions of the binary gossip with each other: what one tells of itself must keep its meaning.
func TestMetaStaysAsItIs(t *testing.T) {
	if got := hex.EncodeToString(encoded(t, fullMeta)); got != goldenMeta {
		t.Errorf("it is now\n%s, want\n%s", got, goldenMeta)
	}
	b, err := hex.DecodeString(goldenMeta)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := decodeMeta(b); err != nil || m != fullMeta {
		t.Errorf("it is read as %+v, %v", m, err)
	}
}
