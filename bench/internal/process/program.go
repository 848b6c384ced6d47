package process

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// A Program is another program that runs, or did.
type Program struct {
	Done <-chan struct{} // closed when it has ended

	cmd  *exec.Cmd
	exit error
}

// Launch starts a program that dies with this one. What it writes is appended to a file.
func Launch(line, env []string, log string) (*Program, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = file, file, env
	cmd.SysProcAttr = Orphaned()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	p := &Program{Done: done, cmd: cmd}
	go func() {
		p.exit = cmd.Wait()
		close(done)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Ended reports whether it has.
func (p *Program) Ended() bool {
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

// Exit says how it ended, if not well. It must have.
func (p *Program) Exit() error { return p.exit }

// CPU is the processor time that it has had.
func (p *Program) CPU() time.Duration {
	if p.Ended() {
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	}
	now, _ := CPU(p.PID()) // it may have ended since
	return now
}

// Signal sends it a signal. The error is os.ErrProcessDone if it has ended.
func (p *Program) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%v: %w", s, err)
	}
	return nil
}
