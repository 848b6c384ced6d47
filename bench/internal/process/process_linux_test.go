package process

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the program that the tests run: with an argument of theirs, it is a
// child that does what they say.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		switch os.Args[1] {
		case "spin":
			burn(100 * time.Millisecond)
			Hold("spun")
		case "hold":
			block := make([]byte, 64<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			Hold(fmt.Sprint(len(block)))
			block[0] = 2
		case "fail":
			os.Exit(3)
		}
		return
	}
	os.Exit(m.Run())
}

// burn keeps one processor busy for so much of its own time.
func burn(d time.Duration) {
	for from := used(); used()-from < d; {
	}
}

// used is the processor time of this process, by another way than CPU.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestCPUOfThisProcess(t *testing.T) {
	const slack = 20 * time.Millisecond // the two ways account for running threads at different times
	for range 3 {
		burn(30 * time.Millisecond)
		before := used()
		got, err := CPU(os.Getpid())
		after := used()
		if err != nil || got < before-slack || got > after+slack {
			t.Fatalf("CPU = %v, %v, want from %v to %v", got, err, before, after)
		}
	}
}

func TestCPUOfChild(t *testing.T) {
	child, err := Start(t.Context(), "spin")
	if err != nil {
		t.Fatal(err)
	}
	if child.Ready != "spun" {
		t.Errorf("ready with %q, want %q", child.Ready, "spun")
	}
	spun, err := CPU(child.PID())
	if err != nil || spun < 100*time.Millisecond {
		t.Errorf("CPU = %v, %v, want at least the 100ms that it spun", spun, err)
	}
	if err := child.Stop(); err != nil {
		t.Error(err)
	}
	if d, err := CPU(child.PID()); err == nil {
		t.Errorf("CPU of a process that is gone = %v, want an error", d)
	}
}

func TestMemoryOfChild(t *testing.T) {
	child, err := Start(t.Context(), "hold")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadMemory(child.PID())
	// The race detector more than doubles what a process has; a wrong unit would be off by a thousand.
	if err != nil || m.Resident < 64<<20 || m.Resident > 512<<20 || m.Peak < m.Resident {
		t.Errorf("memory = %+v, %v, want at least 64 MiB but not many times as much, and no peak below", m, err)
	}
	if err := child.Stop(); err != nil {
		t.Error(err)
	}
	if m, err := ReadMemory(child.PID()); err == nil {
		t.Errorf("memory of a process that is gone = %+v, want an error", m)
	}
}

func TestStartOfWhatFails(t *testing.T) {
	_, err := Start(t.Context(), "fail")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v, want one that says how it ended", err)
	}
}
