package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time, in user and in system mode, that all threads of a
// process have had since it started, to the nanosecond.
func CPU(pid int) (time.Duration, error) {
	// The clock of a process is known by the complement of its id; 2 asks for what the
	// scheduler counts, rather than samples taken at clock ticks. See clock_getcpuclockid(3).
	clock := int32(^pid)<<3 | 2
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// ReadMemory returns how much memory a process has.
func ReadMemory(pid int) (Memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	m, err := parseStatus(status)
	if err != nil {
		return Memory{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	return m, nil
}

// Orphaned lets a process die with the one that started it, and keeps the terminal's signals
// from it.
func Orphaned() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// AwaitStopped waits until a child that was sent SIGSTOP has stopped: until then its threads run
// on, though the signal was sent. The error is that there is no such child any more.
func AwaitStopped(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for process %d to stop: %w", pid, err)
		}
	}
}
