package policy

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"unsafe"
)

func TestHashKey(t *testing.T) {
	// The value is the well-known one of FIPS 180-2, for "abc".
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := HashKey("abc"); got != want {
		t.Errorf("HashKey(abc) = %s, want %s", got, want)
	}
	for n := range 257 {
		key := strings.Repeat("x", n)
		if got, want := hashOf(key), keyHash(sha256.Sum256([]byte(key))); got != want {
			t.Errorf("a key of %d bytes: %x, want %x", n, got, want)
		}
	}
}

// What lies below the frame of the caller of Resolve is what the call left on
// the stack. A plain SHA-256 leaves the end of the key there; Resolve must not.
func TestResolveLeavesNoKeyOnTheStack(t *testing.T) {
	p := mustParse(t, directory("default_tier: free"))
	growStack(0)
	lengths, seen := 0, 0
	for n := 16; n <= 256; n++ {
		tail := n % sha256.BlockSize
		if tail < 8 {
			continue // nothing is copied, or too little to tell from chance
		}
		lengths++
		key := make([]byte, n) // on the heap: the stack has a pointer to it
		for i := range key {
			key[i] = byte(0x80 + (n+i)%97)
		}
		resolve(p, key)
		if onStack(key[n-tail:][:8]) {
			t.Fatalf("the end of a key of %d bytes is on the stack after Resolve", n)
		}
		resolve(p, key)
		if onStack(key[:8]) {
			t.Fatalf("the start of a key of %d bytes is on the stack after Resolve", n)
		}
		hashOnly(key)
		if onStack(key[n-tail:][:8]) {
			seen++
		}
	}
	// The scan is worth something only if it finds a key that is there.
	if seen < lengths/2 {
		t.Errorf("only %d of %d keys were seen that were hashed without cleaning up", seen, lengths)
	}
}

//go:noinline
func resolve(p *Policy, key []byte) {
	_, _ = p.Resolve(unsafe.String(unsafe.SliceData(key), len(key)), "")
}

//go:noinline
func hashOnly(key []byte) { sum256(key) }

// growStack makes room for 32 KiB below its caller, far more than is looked at.
//
//go:noinline
func growStack(depth int) byte {
	var frame [1024]byte
	frame[depth] = 1
	if depth < 32 {
		frame[0] = growStack(depth + 1)
	}
	return frame[depth/2]
}

// below is what lay under the stack frame of the last caller of onStack.
var below [4096]byte

// onStack tells whether want is in the stack memory that its caller's last call
// used. It copies that memory before it does anything that would use it too.
//
//go:noinline
func onStack(want []byte) bool {
	var here byte
	top := unsafe.Pointer(&here)
	for i := range below {
		below[i] = *(*byte)(unsafe.Add(top, i-len(below)))
	}
	return bytes.Contains(below[:], want)
}
