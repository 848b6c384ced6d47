package peer

import (
	"bytes"
	"runtime"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A message that anybody may send takes no memory out of proportion: room was once made for a
// call for each two bytes, half a gigabyte for one message.
func TestMessagesTakeMemoryInProportion(t *testing.T) {
	const most = 24 * maxMessage
	call := appendUint(nil, 2, uint64(Check)) // the shortest that is taken
	answer := appendUint(nil, 1, 1)
	for name, m := range map[string]struct {
		item []byte
		into wire
	}{
		"empty calls":   {appendBytes(nil, 3, nil), new(questions)},
		"short calls":   {appendBytes(nil, 3, call), new(questions)},
		"empty answers": {appendBytes(nil, 2, nil), new(answers)},
		"short answers": {appendBytes(nil, 2, answer), new(answers)},
	} {
		b := bytes.Repeat(m.item, maxMessage/len(m.item))
		var err error
		if n := allocated(func() { err = m.into.parseWire(b) }); n > most || err == nil {
			t.Errorf("%s: a message of %d bytes takes %d bytes of memory: %v", name, len(b), n, err)
		}
	}
}

// As many calls and answers as a node may await at a time are read, however they are cut.
func TestAsManyAsAreAwaitedAreRead(t *testing.T) {
	var calls, told []byte
	for i := range uint64(maxAwaited) {
		calls = appendBytes(calls, 3, appendUint(appendUint(nil, 1, i+1), 2, uint64(Check)))
		told = appendBytes(told, 2, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), i))
	}
	q, a := new(questions), new(answers)
	if err := q.parseWire(calls); err != nil || len(q.calls) != maxAwaited {
		t.Errorf("%d calls: %v", len(q.calls), err)
	}
	if err := a.parseWire(told); err != nil || len(a.answers) != maxAwaited {
		t.Errorf("%d answers: %v", len(a.answers), err)
	}
}
