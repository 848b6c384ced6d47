package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Names of what is left if this program is killed.
const (
	folder   = "sluice-rehearse-" // and the id of the process
	binaries = "bin"
)

// sweep removes the binaries of earlier runs that were killed. Their logs stay.
func sweep(temporary string) error {
	left, err := filepath.Glob(filepath.Join(temporary, folder+"*", binaries))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), folder), "-")
		if pid, err := strconv.Atoi(owner); err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// buildAll builds what was not given.
func buildAll(ctx context.Context, o *options, dir string) error {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/overten/sluice")
	if err != nil {
		return fmt.Errorf("the tree was not found, run this in its folder bench: %w", err)
	}
	if o.binary == "" {
		o.binary = filepath.Join(dir, "sluice")
		if err := build(ctx, root, o.binary); err != nil {
			return err
		}
	}
	if o.previous == "" {
		if o.from, err = earlier(ctx, root, o.from); err != nil || o.from == "" {
			return err
		}
		fmt.Fprintf(o.progress(), "upgrades are from %s\n", o.from)
		o.previous = filepath.Join(dir, "previous")
		return buildRevision(ctx, root, o.from, filepath.Join(dir, "tree"), o.previous)
	}
	return nil
}

// build builds sluice. What is only tried needs no profile, which takes a minute.
func build(ctx context.Context, root, path string) error {
	_, err := output(ctx, root, "go", "build", "-pgo=off", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/sluice")
	return err
}

// buildRevision builds sluice as it was.
func buildRevision(ctx context.Context, root, revision, tree, path string) error {
	if err := os.MkdirAll(tree, 0o700); err != nil {
		return err
	}
	archive := tree + ".tar"
	if _, err := output(ctx, root, "git", "archive", "-o", archive, revision, "--", "."); err != nil {
		return err
	}
	if _, err := output(ctx, tree, "tar", "xf", archive); err != nil {
		return err
	}
	if err := build(ctx, tree, path); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(tree), os.Remove(archive))
}

// product is what a build depends on.
var product = []string{"--", "client", "cluster", "cmd", "limiter", "proto", "server", "go.mod", ":!*_test.go", ":!*/testdata/*"}

// earlier returns the revision to upgrade from: the one that was asked for, else the newest that
// differs; "" if there is none, or no history.
func earlier(ctx context.Context, root, asked string) (string, error) {
	if asked != "" {
		commit, err := output(ctx, root, "git", "rev-parse", "--short", "--verify", asked+"^{commit}")
		if err != nil {
			return "", fmt.Errorf("-from: %w", err)
		}
		return commit, nil
	}
	from := "HEAD"
	if base, err := output(ctx, root, "git", "merge-base", "HEAD", "origin/main"); err == nil {
		from = base
	}
	history, err := output(ctx, root, "git", "rev-list", "--first-parent", "--abbrev-commit", "--max-count=100", from)
	if err != nil {
		return "", nil //nolint:nilerr // there is no history here: acts that need it are left out
	}
	for commit := range strings.FieldsSeq(history) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"diff", "--quiet", commit}, product...)...)
		cmd.Dir = root
		var differs *exec.ExitError
		if err := cmd.Run(); errors.As(err, &differs) && differs.ExitCode() == 1 {
			return commit, nil
		} else if err != nil {
			return "", fmt.Errorf("git diff %s: %w", commit, err)
		}
	}
	return "", nil
}

// output runs a program in a folder and returns what it says.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
