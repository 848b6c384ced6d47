package process

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery    = 2 * time.Millisecond
	realTime     = 1 // SCHED_FIFO, see sched(7)
	firstUrgency = 1 // of real-time threads: above all that are not
)

// WatchStalls is a process of its own, started with Start and ended with Result: it says for
// how long, at most, a processor ran nothing at all that was due, in nanoseconds. One thread
// for each processor, which goes ahead of everything else there, wakes every 2 ms: if it
// wakes late, the machine stood still, or whatever it is a guest of let it wait. It needs the
// right to do so, and says -1 without.
func WatchStalls() {
	runtime.GOMAXPROCS(runtime.NumCPU() + 2) // no thread waits for another
	var longest atomic.Int64
	failed := make(chan error, runtime.NumCPU())
	for cpu := range runtime.NumCPU() {
		go func() {
			runtime.LockOSThread()
			err := goAhead(cpu)
			failed <- err
			for err == nil {
				before := time.Now()
				pause := unix.NsecToTimespec(int64(lookEvery))
				_ = unix.Nanosleep(&pause, nil)
				late := int64(time.Since(before) - lookEvery)
				for old := longest.Load(); late > old && !longest.CompareAndSwap(old, late); old = longest.Load() {
				}
			}
		}()
	}
	for range runtime.NumCPU() {
		if err := <-failed; err != nil {
			fmt.Fprintln(os.Stderr, "stalls of the machine are not seen:", err)
			longest.Store(-1)
		}
	}
	Hold("watching")
	fmt.Println(longest.Load())
}

// goAhead binds the calling thread to a processor, where it goes ahead of all others.
func goAhead(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: realTime, Priority: firstUrgency}, 0)
}
