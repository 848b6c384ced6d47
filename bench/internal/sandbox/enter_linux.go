package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs this program again, with arguments, in namespaces of its own, and returns when it has
// ended. When ctx ends it is told so by SIGTERM, and killed if it has not ended within so long.
func Run(ctx context.Context, grace time.Duration, args ...string) error {
	cmd, err := inNamespaces(ctx, args...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	return cmd.Run()
}

// Works reports whether this program can run in namespaces, and why not; it must call Probe when
// it is run with these arguments.
func Works(args ...string) error {
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("the program ip is missing: install iproute2")
	}
	cmd, err := inNamespaces(context.Background(), args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Probe tries what pods will need, in namespaces.
func Probe() error {
	b, err := Enter("")
	if err != nil {
		return err
	}
	p, err := b.Attach()
	if err != nil {
		return err
	}
	if err := exec.Command(p.Run[0], append(p.Run[1:], "true")...).Run(); err != nil {
		return err
	}
	return b.Detach(p)
}

func inNamespaces(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	// In a group of its own: the terminal's signals are for the one that waits for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	}
	return cmd, nil
}

// Enter makes the network, in the namespaces that Run gave. All names are looked up in search.
func Enter(search string) (*Bridge, error) {
	if err := enterFiles(search); err != nil {
		return nil, err
	}
	for _, args := range []string{
		"link set lo up", "link add " + bridge + " type bridge", "addr add " + own.String() + "/16 dev " + bridge, "link set " + bridge + " up",
	} {
		if err := ip(args); err != nil {
			return nil, err
		}
	}
	return &Bridge{}, nil
}

// enterFiles gives this mount namespace a /run of its own, in which ip keeps the names of
// namespaces, and an /etc/resolv.conf.
func enterFiles(search string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts private: %w", err)
	}
	conf, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("/run: %w", err)
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	// As the kubelet writes it for a pod.
	const ours = "/run/resolv.conf"
	text := fmt.Sprintf("nameserver %s\nsearch %s\noptions ndots:5\n", own, search)
	if err := os.WriteFile(ours, []byte(text), 0o644); err != nil {
		return err
	}
	if strings.HasPrefix(conf, "/run/") { // it was hidden
		if err := errors.Join(os.MkdirAll(filepath.Dir(conf), 0o755), os.WriteFile(conf, nil, 0o644)); err != nil {
			return err
		}
	}
	if err := unix.Mount(ours, conf, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", conf, err)
	}
	return nil
}
