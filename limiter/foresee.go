package limiter

import "encoding/binary"

// mostExpected is how many keys of one stretch of changes are expected: more would push each other
// out of the nearest cache.
const mostExpected = 16

// ExpectChanges is Expect for the first keys of changes that are about to be applied, up to one
// that is about something else than a hit: nearly all are.
func (t *Table) ExpectChanges(p PartitionID, changes []byte) {
	rest := pastHead(changes)
	for range mostExpected {
		var id Identity
		var ok bool
		if id, rest, ok = nextIdentity(rest); !ok {
			return
		}
		t.Expect(Key{p, id})
	}
}

// pastHead returns the changes behind what they begin with: nil if they do not.
func pastHead(b []byte) []byte {
	if len(b) == 0 || b[0] != formatChanges {
		return nil
	}
	return pastNumber(pastNumber(b[1:])) // the base and the largest limit
}

// pastNumber returns what follows the number that b begins with: nil if there is none.
func pastNumber(b []byte) []byte {
	for i, c := range b {
		if c < 1<<7 {
			return b[i+1:]
		}
	}
	return nil
}

// nextIdentity returns the identity that the first of changes is about, if it is about one, and
// the changes behind it, if it is a hit.
func nextIdentity(b []byte) (id Identity, rest []byte, ok bool) {
	if len(b) == 0 || b[0] == changeLargest || b[0] == changeProlonged || b[0] == changeDoubt {
		return Identity{}, nil, false
	}
	hit := b[0] == changeHit
	if b = pastNumber(b[1:]); len(b) < 16 {
		return Identity{}, nil, false
	}
	id = Identity{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	if hit {
		rest = pastNumber(pastNumber(pastNumber(b[16:]))) // units, quantum, horizon
	}
	return id, rest, true
}
