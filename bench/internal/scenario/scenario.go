// Package scenario reads what is to be measured: files that say which limiters are asked, how, and
// what of that is compared.
//
// A scenario has contenders, which are measured in turns within one run, as figures of different
// runs cannot be compared, and comparisons of their measures. A measure is what one contender did
// in one turn; a comparison adds and subtracts contenders, may divide by others, and is the median
// over all turns.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/overten/sluice/bench/internal/target"
)

// A Scenario is one file.
type Scenario struct {
	Name  string `yaml:"-"` // of its file
	About string `yaml:"about"`
	Order int    `yaml:"order"` // of its place in the report

	Pairs  int           `yaml:"pairs"`   // turns of each contender
	For    time.Duration `yaml:"for"`     // of one turn
	WarmUp time.Duration `yaml:"warm_up"` // before the first

	Load       Load        `yaml:"load"` // of all contenders, unless they say otherwise
	Contenders []Contender `yaml:"contenders"`
	Compare    []Compare   `yaml:"compare"`
}

// A Contender is a target and how it is loaded.
type Contender struct {
	Name   string `yaml:"name"`
	Target string `yaml:"target"` // kind
	Nodes  int    `yaml:"nodes"`  // 1 if absent
	Joins  bool   `yaml:"joins"`  // in the middle of each turn another node joins, which leaves after it
	Load   Load   `yaml:"load"`   // what differs from the scenario's
}

// A Load says what a target is asked. A zero field is what the scenario says, and if that says
// nothing, the default.
type Load struct {
	Via      Via           `yaml:"via"`      // call
	Workers  int           `yaml:"workers"`  // 64: calls under way at a time
	Conns    int           `yaml:"conns"`    // 4: connections that they share; the Go client has its own
	Batch    int           `yaml:"batch"`    // 1: keys of a call
	Keys     int           `yaml:"keys"`     // 100,000, taken at random
	Tier     string        `yaml:"tier"`     // enterprise
	Cost     *uint32       `yaml:"cost"`     // 1
	Deadline time.Duration `yaml:"deadline"` // 1s, of each call
	// DeadlineBy says who sets the deadline: each call, by a context of its own, or the Go client,
	// by the timeout that all its calls have.
	DeadlineBy Via     `yaml:"deadline_by"` // call
	Hot        float64 `yaml:"hot"`         // share of the keys asked for that are one key
	Abusive    Abusive `yaml:"abusive"`
	Open       float64 `yaml:"open"` // an open loop, at this share of what the slowest contender can do
}

// OfContext is the deadline that calls have by their context; 0: the client sets it.
func (l Load) OfContext() time.Duration {
	if l.DeadlineBy == ByClient {
		return 0
	}
	return l.Deadline
}

// Abusive is a few keys that are asked for all the time and have little.
type Abusive struct {
	Share float64 `yaml:"share"` // of all keys asked for
	Keys  int     `yaml:"keys"`
	Tier  string  `yaml:"tier"`
}

// Via is how a target is asked.
type Via string

// The ways.
const (
	ByCall   Via = "call"   // one call over gRPC, or to Redis
	ByClient Via = "client" // Sluice's Go client
	ByLease  Via = "lease"  // acquire, renew, release
)

// A Compare is one line of the report.
type Compare struct {
	What    string   `yaml:"what"`    // for people
	Measure string   `yaml:"measure"` // one of Measures
	Of      string   `yaml:"of"`      // contenders, added and subtracted: a - b
	To      string   `yaml:"to"`      // what it is divided by, if anything
	Most    *float64 `yaml:"at_most"`
	Least   *float64 `yaml:"at_least"`
	Aim     *float64 `yaml:"aim"`
}

// Measures are what a turn of a contender is measured by, with their units.
var Measures = map[string]string{
	"cpu":      "µs of all servers' processors a decision",
	"client":   "µs of this program's processors a decision",
	"rate":     "decisions a second",
	"p50":      "ms",
	"p99":      "ms",
	"p999":     "ms",
	"gc":       "share of the servers' processor time that collects garbage",
	"resident": "bytes of the servers' memory a key",
	"reached":  "denials of abusive keys that nodes decided, a key and second",
	"failed":   "share of the calls that failed",
	"longest":  "ms",
}

// Read reads the scenarios in a directory whose names match, in their order.
func Read(dir string, wanted func(name string) bool) (all []Scenario, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if !wanted(name) {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := Parse(name, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b Scenario) int { return a.Order - b.Order })
	if len(all) == 0 {
		return nil, fmt.Errorf("no scenario of %s is wanted", dir)
	}
	return all, nil
}

// Parse reads a scenario, checks it, and fills in what it leaves out.
func Parse(name string, b []byte) (Scenario, error) {
	s := Scenario{Name: name, Pairs: 10, For: 2 * time.Second, WarmUp: 2 * time.Second}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if s.About == "" || s.Pairs < 1 || s.For <= 0 || len(s.Contenders) == 0 {
		return s, errors.New("about, pairs, for and contenders are required")
	}
	for i := range s.Contenders {
		c := &s.Contenders[i]
		c.Nodes = max(c.Nodes, 1)
		c.Load = c.Load.over(s.Load).over(defaults)
		if err := c.check(); err != nil {
			return s, fmt.Errorf("contender %q: %w", c.Name, err)
		}
	}
	for _, c := range s.Compare {
		if err := s.checkCompare(c); err != nil {
			return s, fmt.Errorf("comparison %q: %w", c.What, err)
		}
	}
	return s, nil
}

var one = uint32(1)

var defaults = Load{
	Via: ByCall, Workers: 64, Conns: 4, Batch: 1, Keys: 100_000, Tier: "enterprise", Cost: &one, Deadline: time.Second, DeadlineBy: ByCall,
}

// over returns l, and what l leaves out from base.
func (l Load) over(base Load) Load {
	set(&l.Via, base.Via)
	set(&l.Workers, base.Workers)
	set(&l.Conns, base.Conns)
	set(&l.Batch, base.Batch)
	set(&l.Keys, base.Keys)
	set(&l.Tier, base.Tier)
	set(&l.Cost, base.Cost)
	set(&l.Deadline, base.Deadline)
	set(&l.DeadlineBy, base.DeadlineBy)
	set(&l.Hot, base.Hot)
	set(&l.Abusive, base.Abusive)
	set(&l.Open, base.Open)
	return l
}

func set[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

func (c *Contender) check() error {
	l := c.Load
	switch {
	case c.Name == "":
		return errors.New("it has no name")
	case !target.Known(c.Target):
		return fmt.Errorf("there is no target %q", c.Target)
	case c.Joins && !c.IsSluice():
		return errors.New("only sluice is joined by nodes")
	case l.Via != ByCall && l.Via != ByClient && l.Via != ByLease:
		return fmt.Errorf("there is no way %q of asking", l.Via)
	case l.Via != ByCall && !c.IsSluice():
		return fmt.Errorf("only sluice is asked by %s", l.Via)
	case l.DeadlineBy != ByCall && (l.DeadlineBy != ByClient || l.Via != ByClient):
		return fmt.Errorf("%q sets no deadline of calls by %s", l.DeadlineBy, l.Via)
	case l.Workers < 1 || l.Conns < 1 || l.Batch < 1 || l.Keys < 1 || l.Deadline < 0:
		return errors.New("a number is too small")
	case l.Hot < 0 || l.Abusive.Share < 0 || l.Hot+l.Abusive.Share > 1 || l.Open < 0 || l.Open >= 1:
		return errors.New("a share is not from 0 to 1")
	case l.Abusive.Share > 0 && (l.Abusive.Keys < 1 || l.Abusive.Tier == ""):
		return errors.New("abusive keys have a number and a tier")
	case l.Abusive.Share > 0 && l.Batch > 1:
		return errors.New("abusive keys are asked for one by one")
	}
	return nil
}

// IsSluice tells whether the contender is Sluice, in whatever build.
func (c *Contender) IsSluice() bool { return c.Target == target.Sluice || c.Target == target.Before }

// AgainstBefore returns a scenario in which each contender that is Sluice meets another build of
// it, and no others.
func (s Scenario) AgainstBefore() Scenario {
	var contenders []Contender
	var compare []Compare
	for _, c := range s.Contenders {
		if !c.IsSluice() {
			continue
		}
		before := c
		before.Name, before.Target = c.Name+"-before", target.Before
		contenders = append(contenders, c, before)
		for _, measure := range []string{"cpu", "rate", "resident"} {
			compare = append(compare, Compare{What: c.Name + ", against before: " + Measures[measure], Measure: measure, Of: c.Name, To: before.Name})
		}
	}
	s.Contenders, s.Compare = contenders, compare
	return s
}

func (s *Scenario) checkCompare(c Compare) error {
	if Measures[c.Measure] == "" {
		return fmt.Errorf("there is no measure %q", c.Measure)
	}
	for _, sum := range []string{c.Of, c.To} {
		terms, err := Terms(sum)
		if err != nil {
			return err
		}
		for _, t := range terms {
			if s.Contender(t.Name) < 0 {
				return fmt.Errorf("there is no contender %q", t.Name)
			}
		}
	}
	if c.What == "" || c.Of == "" {
		return errors.New("what and of are required")
	}
	return nil
}

// Contender returns the number of the contender of that name, or -1.
func (s *Scenario) Contender(name string) int {
	return slices.IndexFunc(s.Contenders, func(c Contender) bool { return c.Name == name })
}

// A Term is a contender in a sum.
type Term struct {
	Name  string
	Minus bool
}

// Terms reads a sum: contenders with " + " and " - " between them.
func Terms(sum string) (terms []Term, err error) {
	words := strings.Fields(sum)
	for i, w := range words {
		switch {
		case i%2 == 0:
			terms = append(terms, Term{Name: w, Minus: i > 0 && words[i-1] == "-"})
		case w != "+" && w != "-":
			return nil, fmt.Errorf("%q is no sum of contenders: between them stands + or -", sum)
		}
	}
	if len(words) > 0 && len(words)%2 == 0 {
		return nil, fmt.Errorf("%q ends with a sign", sum)
	}
	return terms, nil
}

// Value is a sum's value: of is the measure of a contender.
func Value(terms []Term, of func(name string) float64) (sum float64) {
	for _, t := range terms {
		if v := of(t.Name); t.Minus {
			sum -= v
		} else {
			sum += v
		}
	}
	return sum
}
