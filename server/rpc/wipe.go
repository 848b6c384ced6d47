package rpc

import (
	"runtime"
	"unsafe"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// A node holds no API key longer than a call lasts. A key that was merely dropped would
// stay in memory until that is reused, for a core dump or a debugger to find; so the
// parsed copies are overwritten when the call is over.

// wipe overwrites the memory of a string that protobuf parsed. Each is memory of its own
// that nobody else refers to, but for those of one byte, which the runtime takes from a
// table that cannot be written.
func wipe(s *string) {
	if len(*s) > 1 {
		clear(unsafe.Slice(unsafe.StringData(*s), len(*s)))
	}
	*s = ""
}

func wipeCheck(req *sluicev1.CheckRequest) { wipe(&req.Key) }

func wipeAll(checks []*sluicev1.CheckRequest) {
	for _, c := range checks {
		wipe(&c.Key)
	}
}

func wipeBatch(req *sluicev1.CheckBatchRequest) { wipeAll(req.Checks) }

func wipeAcquire(req *sluicev1.AcquireRequest) { wipe(&req.Key) }

// wipeRegisters overwrites what the last copy left in the vector registers, which the
// runtime writes to memory when it preempts a goroutine. A copy of 129 to 256 bytes goes
// through all of them.
//
//go:noinline
func wipeRegisters() {
	var to [256]byte
	copy(to[:registers], zeros[:registers])
	runtime.KeepAlive(&to)
}

var (
	zeros     [256]byte
	registers = len(zeros) // no constant, so that the copy is not compiled to something else
)
