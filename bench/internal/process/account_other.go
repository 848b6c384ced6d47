//go:build !linux

package process

import (
	"errors"
	"syscall"
	"time"
)

var errNotLinux = errors.New("another process's accounts can be read on Linux only")

// CPU returns the processor time that a process has had.
func CPU(int) (time.Duration, error) { return 0, errNotLinux }

// ReadMemory returns how much memory a process has.
func ReadMemory(int) (Memory, error) { return Memory{}, errNotLinux }

// Orphaned keeps the terminal's signals from a process.
func Orphaned() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// AwaitStopped does not wait where this program does not know how.
func AwaitStopped(int) error { return nil }
