package rpc

import "encoding/binary"

// A node holds no API key longer than a call lasts. A key that was merely dropped would
// stay in memory until that is used again, for a core dump or a debugger to find. So
//
//   - connections keep nothing that was read from them (fairConn),
//   - a request is not copied out of the bytes that it came in (unmarshal), and these are
//     overwritten when the call is over (inbound.wipe),
//   - where bytes must be copied, it is done by move,
//   - hashing leaves nothing on the stack (package policy).
//
// What is out of reach: grpc drops, and does not overwrite, what arrived for a call that
// nobody will read, because it was cancelled before, is too large, or names no method of
// ours. That stays until its memory is used again.

// move is copy, through one general register. The built-in copy uses the vector registers,
// up to 256 bytes at a time; when a signal comes (the runtime preempts by signals), the
// kernel and the runtime save those to memory that stays as it is until the next signal.
func move(dst, src []byte) int {
	n := min(len(dst), len(src))
	dst, src = dst[:n], src[:n]
	for len(src) >= 8 && len(dst) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src))
		dst, src = dst[8:], src[8:]
	}
	for len(src) > 0 && len(dst) > 0 {
		dst[0] = src[0]
		dst, src = dst[1:], src[1:]
	}
	return n
}
