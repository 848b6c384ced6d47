package slack

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// asProgram is in the environment of this test when it is to be a program that takes slack.
const asProgram = "SLACK_TEST_PROGRAM"

// seen is what that program saw after it took slack.
type seen struct {
	Process int
	Args    []string
	Slack   []int // of several threads
	Anew    bool  // it still says in the environment that it was begun anew
	Kept    string
}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	if err := Take(); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(look()); err != nil {
		panic(err)
	}
}

// look looks around on several threads, which all hold each other up so that each is another.
func look() seen {
	_, anew := os.LookupEnv(begun)
	s := seen{Process: os.Getpid(), Args: os.Args, Anew: anew, Kept: os.Getenv(asProgram)}
	const threads = 4
	var all, here sync.WaitGroup
	var mu sync.Mutex
	here.Add(threads)
	for range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			here.Done()
			here.Wait()
			slack, err := get()
			if err != nil {
				panic(err)
			}
			mu.Lock()
			defer mu.Unlock()
			s.Slack = append(s.Slack, slack)
		})
	}
	all.Wait()
	return s
}

// All threads of the program have slack afterwards; what started it still sees the same process,
// which has what it was given, and nothing else.
func TestAProcessTakesSlackAndStaysTheSame(t *testing.T) {
	c := exec.Command(os.Args[0], "one", "and another")
	// Whoever begins a program from one that was begun anew leaves it the mark of another process.
	c.Env = append(os.Environ(), asProgram+"=a value", begun+"=1")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if s.Process != c.Process.Pid || s.Anew || s.Kept != "a value" {
		t.Errorf("the program is %+v, and was started as process %d", s, c.Process.Pid)
	}
	if want := []string{os.Args[0], "one", "and another"}; !slices.Equal(s.Args, want) {
		t.Errorf("arguments are %q, must be %q", s.Args, want)
	}
	if len(s.Slack) != 4 || slices.Min(s.Slack) < int(Most) {
		t.Errorf("threads have slack of %v ns, must have %d at least", s.Slack, Most)
	}
}
