// Package docs_test holds the documentation to the code: the worked timelines are
// replayed through the engine, and links lead somewhere.
package docs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
)

// start is the instant that the timelines call 0 s.
const start = limiter.Instant(time.Hour)

// A timeline is a table whose first column is the time, and the policy that was shown
// last before it.
type timeline struct {
	line   int // of its head
	policy *policy.Policy
	head   []string
	rows   [][]string
}

// timelines returns the timelines of a page.
func timelines(t *testing.T, file string) []timeline {
	t.Helper()
	var (
		all    []timeline
		shown  *policy.Policy
		fence  *strings.Builder
		inside bool // a timeline
	)
	for i, line := range strings.Split(read(t, file), "\n") {
		switch {
		case line == "```yaml":
			fence = new(strings.Builder)
		case line == "```" && fence != nil:
			p, err := policy.Parse([]byte(fence.String()))
			if err != nil {
				t.Fatalf("%s:%d: %v", file, i+1, err)
			}
			shown, fence = p, nil
		case fence != nil:
			fence.WriteString(line + "\n")
		case strings.HasPrefix(line, "| time |"):
			all = append(all, timeline{line: i + 1, policy: shown, head: cells(line)})
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(line, "|--"):
			all[len(all)-1].rows = append(all[len(all)-1].rows, cells(line))
		}
	}
	return all
}

func cells(line string) []string {
	parts := strings.Split(strings.Trim(line, "|"), "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// has tells whether the timeline has a column of that name.
func (tl *timeline) has(column string) bool {
	for _, name := range tl.head {
		if name == column {
			return true
		}
	}
	return false
}

// cell returns what a row has in the column of that name.
func (tl *timeline) cell(row []string, column string) string {
	for i, name := range tl.head {
		if name == column && i < len(row) {
			return row[i]
		}
	}
	return ""
}

// tier returns the tier that a row names, or the only one.
func (tl *timeline) tier(t *testing.T, row []string) *limiter.Tier {
	t.Helper()
	r, err := tl.policy.Resolve("key", tl.cell(row, "tier"))
	if err != nil {
		t.Fatalf("%v: %v", row, err)
	}
	return r.Tier
}

// TestWindowTimelines makes the requests of each timeline and compares the decisions.
func TestWindowTimelines(t *testing.T) {
	rows := 0
	for _, tl := range timelines(t, "semantics.md") {
		if !tl.has("cost") {
			continue
		}
		table := newTable(t)
		for _, row := range tl.rows {
			rows++
			cost, err := strconv.Atoi(tl.cell(row, "cost"))
			if err != nil {
				t.Fatalf("%v: %v", row, err)
			}
			d := table.Check(limiter.Key{}, tl.tier(t, row), limiter.Cost(cost), start.Add(duration(t, tl.cell(row, "time"))))
			d.Permit = 0 // alone a table is permitted for ever
			tl.compare(t, row, d)
		}
	}
	if rows < 35 {
		t.Errorf("only %d rows were found", rows)
	}
}

// compare compares a decision with what a row says of it.
func (tl *timeline) compare(t *testing.T, row []string, got limiter.Decision) {
	t.Helper()
	want := limiter.Decision{
		Allowed:   tl.cell(row, "allowed") == "yes",
		Exactness: limiter.Exact,
		Limit:     got.Limit,
		Reset:     duration(t, tl.cell(row, "reset")),
	}
	want.Remaining = number(t, tl.cell(row, "remaining"))
	if tl.has("limit") {
		want.Limit = number(t, tl.cell(row, "limit"))
	}
	switch wait := tl.cell(row, "retry after"); wait {
	case "-":
	case "never":
		want.Reason = limiter.ReasonCostExceedsLimit
	default:
		want.Reason, want.RetryAfter = limiter.ReasonRateLimited, duration(t, wait)
	}
	if got != want {
		t.Errorf("table in line %d: %v:\n got %+v\nwant %+v", tl.line, row, got, want)
	}
}

var (
	acquireCall = regexp.MustCompile(`^acquire (\w+) for ([\d.]+ s)(?:, task (\w+))?$`)
	renewCall   = regexp.MustCompile(`^renew (\w+) for ([\d.]+ s)$`)
	releaseCall = regexp.MustCompile(`^release (\w+)$`)
)

// TestRunTimeline makes the calls of the timeline of runs and compares the answers.
func TestRunTimeline(t *testing.T) {
	rows := 0
	for _, tl := range timelines(t, "semantics.md") {
		if !tl.has("call") {
			continue
		}
		r := &runs{t: t, table: newTable(t), tier: tl.tier(t, nil), leases: map[string]limiter.LeaseRef{}}
		for _, row := range tl.rows {
			rows++
			r.now = start.Add(duration(t, tl.cell(row, "time")))
			if got, want := r.call(tl.cell(row, "call")), tl.cell(row, "answer"); got != want {
				t.Errorf("%v: got %s", row, got)
			}
			if got, want := r.inUse(), number(t, tl.cell(row, "in use")); got != want {
				t.Errorf("%v: %d in use", row, got)
			}
		}
	}
	if rows < 10 {
		t.Errorf("only %d rows were found", rows)
	}
}

// runs is one key whose leases are called L1, L2 and so on as they are granted.
type runs struct {
	t      *testing.T
	table  *limiter.Table
	tier   *limiter.Tier
	now    limiter.Instant
	leases map[string]limiter.LeaseRef
}

// call makes a call and returns the answer in the words of the page.
func (r *runs) call(text string) string {
	r.t.Helper()
	if m := acquireCall.FindStringSubmatch(text); m != nil {
		return r.acquire(m[1], duration(r.t, m[2]), m[3])
	}
	if m := renewCall.FindStringSubmatch(text); m != nil {
		left, err := r.table.Renew(r.leases[m[1]], duration(r.t, m[2]), nil, r.now)
		if err != nil {
			return "gone"
		}
		return seconds(left)
	}
	if m := releaseCall.FindStringSubmatch(text); m != nil {
		if released, err := r.table.Release(r.leases[m[1]], r.now); released && err == nil {
			return "released"
		}
		return "not released"
	}
	r.t.Fatalf("no such call: %q", text)
	return ""
}

func (r *runs) acquire(run string, ttl time.Duration, task string) string {
	r.t.Helper()
	a := &limiter.Acquisition{
		Tier: r.tier, Run: hasher.Run(run), RunID: run, TaskID: task, TTL: ttl, Nonce: uint64(len(r.leases) + 1),
	}
	g, err := r.table.Acquire(a, r.now)
	switch {
	case errors.Is(err, limiter.ErrConflict):
		return "conflict"
	case err != nil:
		r.t.Fatal(err)
	case !g.Granted:
		return "denied, a slot frees itself in " + seconds(g.FreesIn)
	}
	name := fmt.Sprintf("L%d", g.Nonce)
	r.leases[name] = limiter.LeaseRef{Run: a.Run, Nonce: g.Nonce}
	return name + ", " + seconds(g.ExpiresIn)
}

// inUse asks for a slot of a tier that has none, which tells and changes nothing.
func (r *runs) inUse() uint32 {
	r.t.Helper()
	none, err := limiter.NewTier(limiter.TierSpec{Name: "none", Windows: r.tier.Windows()})
	if err != nil {
		r.t.Fatal(err)
	}
	g, err := r.table.Acquire(&limiter.Acquisition{Tier: none, Run: hasher.Run("another"), TTL: time.Second}, r.now)
	if err != nil || g.Granted {
		r.t.Fatal(g, err)
	}
	return g.InUse
}

var hasher = limiter.NewHasher(limiter.Secrets{}, 1)

func newTable(t *testing.T) *limiter.Table {
	t.Helper()
	table, err := limiter.NewTable(limiter.Config{Partitions: 1, MaxKeys: 1})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// duration reads a duration as the page writes it: "30 s", "0.7 ms".
func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
}

func number(t *testing.T, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// pages are all that is written for people.
func pages(t *testing.T) []string {
	t.Helper()
	root, err1 := filepath.Glob("../*.md")
	here, err2 := filepath.Glob("*.md")
	deploy, err3 := filepath.Glob("../deploy/*/*.md")
	if err := errors.Join(err1, err2, err3); err != nil || len(root) < 3 || len(here) < 5 || len(deploy) < 1 {
		t.Fatalf("found %v, %v, %v: %v", root, here, deploy, err)
	}
	return slices.Concat(root, here, deploy)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksLeadSomewhere follows the links between pages and to files, headings included.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			name, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if name != "" {
				target = filepath.Join(filepath.Dir(page), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !hasHeading(read(t, target), anchor) {
				t.Errorf("%s: %s has no heading for %s", page, target, anchor)
			}
		}
	}
}

// hasHeading tells whether a heading of the page has the anchor.
func hasHeading(page, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		slug := noSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(slug, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestReadmeSaysHowToTest looks for the test command where machines look for it.
func TestReadmeSaysHowToTest(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../README.md"), "\n## Test\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !strings.Contains(section, "```sh\nmake test\n```") {
		t.Errorf("the section Test of README.md has no block with make test:\n%s", section)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
