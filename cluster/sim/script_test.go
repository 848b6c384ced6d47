package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write into the stories of testdata what happens in them")

// TestStories plays each story of testdata: lines that begin with # tell it, indented
// ones are what happens, all others are commands; see story.do. Time passes only by run
// and rest, and while a call is answered.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			told, err := play(string(b))
			if err != nil {
				t.Errorf("%v", err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(told), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if told != string(b) {
				t.Errorf("it goes otherwise (-update writes it down):\n%s", told)
			}
		})
	}
}

// story is a cluster of one partition, in a script's hands. A key may have 20 units a
// minute and 3 runs.
type story struct {
	*world
	out  strings.Builder
	runs map[string]*run
}

// play returns a script with what happens in it now.
func play(script string) (string, error) {
	s := &story{runs: make(map[string]*run)}
	for i, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&s.out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.do(strings.Fields(line)); err != nil {
			return s.out.String(), fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return s.out.String(), s.failed
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(&s.out, "  "+format+"\n", args...) }

// set begins the story with so many nodes, none of them started.
func (s *story) set(nodes int) {
	s.world = newWorld(1, nodes, 1, nil)
	s.engine, s.window = true, time.Minute
	s.world.say = func(what string) { s.say("%7.3fs %s", time.Duration(s.now).Seconds(), what) }
}

func (s *story) do(words []string) error {
	command, args := words[0], words[1:]
	if command == "nodes" {
		n, err := strconv.Atoi(strings.Join(args, " "))
		s.set(n)
		return err
	}
	if s.world == nil {
		return fmt.Errorf("nodes comes first")
	}
	var named []*node
	for _, arg := range args {
		if n := s.byName[arg]; n != nil {
			named = append(named, n)
		}
	}
	last := args
	if len(args) > 0 {
		last = args[len(args)-1:]
	}
	switch command {
	case "run": // run 2s
		return s.pass(last)
	case "rest": // as long as it may take, and see that the cluster is at rest
		s.run(s.now.after(most))
		s.checkCalm()
		if s.failed == nil {
			s.say("at rest")
		}
	case "show":
		s.show()
	case "heal":
		s.net.heal()
		s.ledger.doubtful = s.now.after(4 * time.Second)
	case "cut": // cut n1 n2: no message between these
		return s.cut(named)
	case "split": // split n1 n2: from all others
		s.ledger.forget(time.Hour)
		s.net.split(func(n *node) bool { return contains(named, n) })
	case "hit": // hit a 5 times at n1
		if len(args) != 5 || len(named) != 1 {
			return fmt.Errorf("hit KEY N times at NODE")
		}
		n, err := strconv.Atoi(args[1])
		s.hits(args[0], n, named[0])
		return err
	case "acquire", "renew", "release": // acquire r1 of a at n1; renew r1 at n2
		if len(args) < 3 || len(named) != 1 {
			return fmt.Errorf("%s RUN [of KEY] at NODE", command)
		}
		return s.lease(command, args, named[0])
	default:
		return s.befall(command, named, last)
	}
	return nil
}

func contains(nodes []*node, n *node) bool {
	for _, o := range nodes {
		if o == n {
			return true
		}
	}
	return false
}

func (s *story) pass(words []string) error {
	d, err := time.ParseDuration(strings.Join(words, " "))
	s.run(s.now.after(d))
	return err
}

func (s *story) cut(nodes []*node) error {
	if len(nodes) != 2 {
		return fmt.Errorf("cut NODE NODE")
	}
	s.ledger.forget(time.Hour)
	s.net.sever(nodes[0], nodes[1], true)
	s.net.sever(nodes[1], nodes[0], true)
	return nil
}

// befall does something to each of some nodes.
func (s *story) befall(command string, nodes []*node, last []string) error {
	for _, n := range nodes {
		switch command {
		case "start": // joins the others, if there are any
			n.start(s.upCount() == 0)
		case "kill":
			n.kill()
		case "vanish":
			n.vanish()
		case "drain":
			n.drain()
		case "pause": // pause n1 10s: it wakes by itself
			d, err := time.ParseDuration(last[0])
			if err != nil {
				return err
			}
			n.pause(d)
		default:
			return fmt.Errorf("%s is no command", command)
		}
	}
	if len(nodes) == 0 {
		return fmt.Errorf("%s is no command, or has no node", command)
	}
	return nil
}

// hits has a key hit so many times at a node, at once.
func (s *story) hits(name string, times int, at *node) {
	allowed, denied := 0, 0
	for range times {
		s.hit(s.key(name), func(ok bool) {
			if ok {
				allowed++
			} else {
				denied++
			}
		}).at(at, 0)
	}
	s.answered(func() bool { return allowed+denied == times })
	s.say("%d allowed, %d denied%s", allowed, denied, unanswered(times-allowed-denied))
}

func unanswered(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d not answered", n)
}

// answered lets time pass until there is an answer, or nobody waits for it any more.
func (s *story) answered(done func() bool) {
	for until := s.now.after(patience); s.now < until && !done(); {
		s.run(s.now.after(time.Millisecond))
	}
}

func (s *story) key(name string) key { return key{0, name[0]} }

// lease does something with the lease of a run.
func (s *story) lease(command string, args []string, at *node) error {
	r := s.runs[args[0]]
	if command == "acquire" && len(args) == 5 {
		r = s.newRun(s.key(args[2]))
		r.ttl = 30 * time.Second
		s.runs[args[0]] = r
	}
	if r == nil || command != "acquire" && r.lease == nil {
		return fmt.Errorf("%s has no lease", args[0])
	}
	answer := "not answered"
	told := func(yes, no string) func(bool) {
		return func(ok bool) {
			if answer = no; ok {
				answer = yes
			}
		}
	}
	var c *call
	switch command {
	case "acquire":
		c = r.acquire(told("granted", "denied"))
	case "renew":
		c = r.renew(told("renewed", "gone"))
	default:
		c = r.release(told("released", "had ended before"))
	}
	c.at(at, 0)
	s.answered(func() bool { return answer != "not answered" })
	s.say("%s", answer)
	return nil
}

// show tells what each node is, and what it has.
func (s *story) show() {
	for _, n := range s.nodes {
		switch {
		case n.draining && !n.up:
			s.say("%s left", n.name)
		case !n.up:
			s.say("%s is down", n.name)
		case n.paused:
			s.say("%s is paused", n.name)
		default:
			s.say("%s %s%s", n.name, n.roleOf(0), s.has(n))
		}
	}
}

// has tells what a node has counted of each key.
func (s *story) has(n *node) (all string) {
	for name := byte('a'); name <= 'z'; name++ {
		k := key{0, name}
		units, runs := n.store.units(k, n.local()), len(n.live(k))
		if units+runs > 0 {
			all += fmt.Sprintf("; %c: %d units, %d runs", name, units, runs)
		}
	}
	return all
}
