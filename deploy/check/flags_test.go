package check_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// binary is sluice, built from here.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sluice")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "sluice")
		build := exec.Command("go", "build", "-pgo=off", "-o", binary, "./cmd/sluice")
		build.Dir, build.Stderr = "../..", os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// All that a container is told is a flag of the binary, given once. What is given beyond the
// chart may repeat one.
func TestFlagsAreTheBinarys(t *testing.T) {
	help, err := exec.Command(binary, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?(--[a-z0-9-]+)`).FindAllStringSubmatch(string(help), -1) {
		known = append(known, m[1])
	}
	if len(known) < 40 {
		t.Fatalf("the help of serve lists %v", known)
	}
	each(t, func(t *testing.T, all []object) {
		_, container := nodes(t, all)
		if container.Args[0] != "serve" {
			t.Errorf("the command is %s", container.Args[0])
		}
		var given []string
		for _, arg := range container.Args[1:] {
			name, _, ok := strings.Cut(arg, "=")
			if !ok || !slices.Contains(known, name) {
				t.Errorf("%s: no flag of sluice serve", arg)
			}
			if name != "--http-ietf-headers" && slices.Contains(given, name) {
				t.Errorf("%s is given twice", name)
			}
			given = append(given, name)
		}
		for _, e := range container.Env {
			flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(e.Name, "SLUICE_"), "_", "-"))
			if strings.HasPrefix(e.Name, "SLUICE_") && !slices.Contains(known, flag) {
				t.Errorf("%s is no flag in the environment", e.Name)
			}
		}
		// A flag with a default that a pod cannot use must be given.
		for _, must := range []string{"--name", "--advertise", "--grpc", "--http", "--peer", "--gossip", "--admin", "--join", "--key-file", "--policy"} {
			if !slices.Contains(given, must) {
				t.Errorf("%s is not given", must)
			}
		}
	})
}

// A node starts on the policy that the chart writes out.
func TestPoliciesAreGood(t *testing.T) {
	each(t, func(t *testing.T, all []object) {
		for _, o := range all {
			c, ok := o.(*core.ConfigMap)
			if !ok {
				continue
			}
			file := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(file, []byte(c.Data["policy.yaml"]), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(binary, "policy", "check", file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
}

// The notes tell commands that work.
func TestNotesTellCommandsThatAreThere(t *testing.T) {
	help, err := exec.Command(binary, "status", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range samples(t) {
		rendered, err := render(values(t, file))
		if err != nil {
			t.Fatal(err)
		}
		notes := rendered["sluice/templates/NOTES.txt"]
		t.Log(notes)
		_, command, ok := strings.Cut(notes, "-- /sluice status")
		if !ok {
			t.Fatalf("%s: the notes do not say how to look:\n%s", file, notes)
		}
		command, _, _ = strings.Cut(command, "\n")
		for _, name := range regexp.MustCompile(`--[a-z-]+`).FindAllString(command, -1) {
			if !strings.Contains(string(help), name+" ") {
				t.Errorf("%s: %s is no flag of sluice status", file, name)
			}
		}
	}
}
