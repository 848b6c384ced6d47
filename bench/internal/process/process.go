// Package process runs what is measured in processes of their own, so that the
// operating system accounts for it apart from whoever measures, and reads those
// accounts.
//
// A program runs itself again with other arguments ([Start]); that process makes itself
// ready, says so, and lives until its parent has had enough or is gone ([Hold]).
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A Child is a running process that was started by this one.
type Child struct {
	Ready string // what it said when it was ready

	cmd   *exec.Cmd
	stdin io.Closer
	said  *bufio.Reader
}

// Start runs this program again with other arguments, and waits until it has called Hold.
// If ctx ends, the process is killed. What it writes to its standard error appears on ours.
func Start(ctx context.Context, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := bufio.NewReader(stdout)
	ready, err := said.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s ended before it was ready: %w", strings.Join(args, " "), cmd.Wait())
	}
	return &Child{Ready: strings.TrimSuffix(ready, "\n"), cmd: cmd, stdin: stdin, said: said}, nil
}

// PID returns the process's id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// stopTimeout bounds how long a process may take to end by itself.
const stopTimeout = 10 * time.Second

// Stop ends the process and waits until it is gone. The error says how it ended, if not well.
func (c *Child) Stop() error {
	err := c.stdin.Close()
	kill := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	return errors.Join(err, c.cmd.Wait())
}

// Result is Stop for a process that says something once it is stopped: it returns that line.
func (c *Child) Result() (line string, err error) {
	kill := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	err = c.stdin.Close()
	line, e := c.said.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), errors.Join(err, e, c.cmd.Wait())
}

// Hold tells the parent, in one line, that this process is ready, and returns when the
// parent stops it or is gone.
func Hold(ready string) {
	fmt.Println(ready)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
