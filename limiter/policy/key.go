package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"unsafe"
)

// keyHash is the SHA-256 of a raw key: all that the directory has of it.
type keyHash [sha256.Size]byte

// HashKey returns the SHA-256 of a raw key in hex, as the field sha256 of the
// policy file takes it.
func HashKey(raw string) string {
	h := hashOf(raw)
	return hex.EncodeToString(h[:])
}

// zeros is hashed to overwrite what hashing a key left behind. It is never written.
var zeros [sha256.BlockSize]byte

// hashOf returns the SHA-256 of key and leaves no copy of key in memory.
//
// Hashing copies the last, incomplete block of its input into stack memory, and
// nothing clears that on return: a core dump of an idle process would show it.
// (Complete blocks are read where they are, and registers and message schedules
// are taken over by the last block.) So a block of zeros, as long as that tail,
// is hashed by the same function from the same frame, which puts zeros where
// the tail was. The same is done before, so that a stack which is too small for
// hashing grows now and not with a key on it: the old stack is freed uncleared.
func hashOf(key string) keyHash {
	// A conversion by []byte(key) would be one more copy, on stack or heap. The
	// bytes are only read, which is what unsafe.StringData asks for.
	raw := unsafe.Slice(unsafe.StringData(key), len(key))
	blank := zeros[:len(key)%sha256.BlockSize]
	sum256(blank)
	h := sum256(raw)
	sum256(blank)
	return h
}

// sum256 is not inlined, so that all its callers' calls use the same stack.
//
//go:noinline
func sum256(b []byte) keyHash { return sha256.Sum256(b) }
