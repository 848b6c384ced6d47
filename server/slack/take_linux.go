package slack

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// begun is in the environment of a program that was begun anew, with the number of its process.
const begun = "SLUICE_BEGUN_ANEW"

// Take lets all timers of this process be late by Most. A thread has its slack from the one that
// made it, and those of Go's runtime are there before the first line of the program: so Take
// begins the program anew, in the same process with the same arguments, environment and open
// files, and does not return. It is therefore to be called before anything else is done. In the
// program that was begun anew it returns nil. After an error timers are as exact as before, which
// costs processor time and nothing else.
func Take() error {
	anew := os.Getenv(begun) == strconv.Itoa(os.Getpid())
	if err := os.Unsetenv(begun); err != nil || anew {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := get()
	if err != nil || before >= int(Most) {
		return err
	}
	if err := set(int(Most)); err != nil {
		return err
	}
	return errors.Join(again(), set(before))
}

// again begins the program anew. It returns only if it cannot.
func again() error {
	if got, err := get(); err != nil || got < int(Most) { // a thread with real-time priority has no slack
		return errors.Join(errors.New("the system gives no slack"), err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, append(os.Environ(), begun+"="+strconv.Itoa(os.Getpid())))
}

// get returns the slack of this thread in nanoseconds.
func get() (int, error) { return unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0) }

func set(ns int) error { return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(ns), 0, 0, 0) }
