package contract

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// contractPage is the contract page, in its order, and the rule on retries.
var contractPage = []struct {
	code     Code
	status   int
	category string
	retry    Retry
}{
	{"invalid_api_key", 401, "authentication", RetryNever},
	{"forbidden", 403, "authentication", RetryNever},
	{"insufficient_credits", 402, "billing", RetryNever},
	{"invalid_request", 400, "validation", RetryNever},
	{"validation_error", 422, "validation", RetryNever},
	{"preflight_failed", 400, "validation", RetryNever},
	{"payload_too_large", 413, "validation", RetryNever},
	{"not_found", 404, "resources", RetryNever},
	{"gone", 410, "resources", RetryNever},
	{"conflict", 409, "resources", RetryNever},
	{"sync_timeout_upgrade_async", 408, "runtime", RetryAsync},
	{"rate_limit_exceeded", 429, "runtime", RetryAfter},
	{"internal_error", 500, "runtime", RetryBackoff},
	{"upstream_error", 502, "runtime", RetryBackoff},
	{"service_unavailable", 503, "runtime", RetryAfter},
	{"not_implemented", 501, "runtime", RetryBackoff},
}

func TestCatalogueIsTheContractPage(t *testing.T) {
	got := Catalogue()
	if len(got) != len(contractPage) {
		t.Fatalf("the catalogue has %d codes, want %d", len(got), len(contractPage))
	}
	for i, want := range contractPage {
		e := got[i]
		if e.Code != want.code || e.Status != want.status || e.Category != want.category || e.Retry != want.retry {
			t.Errorf("entry %d is %s %d %s %v, want %v", i, e.Code, e.Status, e.Category, e.Retry, want)
		}
		if len(e.Message) < 10 || !strings.HasSuffix(e.Message, ".") {
			t.Errorf("%s: the default message %q is no sentence", e.Code, e.Message)
		}
		if found, ok := Lookup(want.code); !ok || found != e {
			t.Errorf("Lookup(%s) = %v, %v", want.code, found, ok)
		}
	}
	if _, ok := Lookup("teapot"); ok {
		t.Error("Lookup found a code that the contract lacks")
	}
}

// The message of a 408 is all that tells a client what to do instead.
func TestSyncTimeoutSaysAsync(t *testing.T) {
	if e, _ := Lookup(SyncTimeoutUpgradeAsync); !strings.Contains(e.Message, "async") {
		t.Errorf("message %q does not name async", e.Message)
	}
}

func TestCatalogueIsACopy(t *testing.T) {
	Catalogue()[0].Status = 200
	if e, _ := Lookup(InvalidAPIKey); e.Status != 401 {
		t.Errorf("a caller changed the catalogue: status %d", e.Status)
	}
}

// The rule, from which the Retry column follows: 5xx, 408 and 429 may be
// retried, other 4xx never.
func TestRetryFollowsTheRule(t *testing.T) {
	for _, e := range Catalogue() {
		may := e.Status >= 500 || e.Status == 408 || e.Status == 429
		if (e.Retry != RetryNever) != may {
			t.Errorf("%s (%d): retry is %v", e.Code, e.Status, e.Retry)
		}
	}
}

func TestForStatus(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   Code
	}{
		{400, InvalidRequest}, // not preflight_failed, which has the same status
		{405, InvalidRequest}, {406, InvalidRequest}, {414, InvalidRequest}, {415, InvalidRequest},
		{418, InvalidRequest}, {431, InvalidRequest}, {499, InvalidRequest},
		{504, UpstreamError},
		{505, InternalError}, {507, InternalError}, {599, InternalError},
		{0, InternalError}, {-1, InternalError}, {200, InternalError}, {302, InternalError}, {600, InternalError},
	} {
		if got := ForStatus(tt.status); got != tt.want {
			t.Errorf("ForStatus(%d) = %s, want %s", tt.status, got, tt.want)
		}
	}
	for _, e := range Catalogue() {
		if got := (Error{Code: ForStatus(e.Status)}).Status(); got != e.Status {
			t.Errorf("ForStatus(%d) is a code with status %d", e.Status, got)
		}
	}
	for status := 400; status < 600; status++ {
		if got := (Error{Code: ForStatus(status)}).Status(); got/100 != status/100 {
			t.Errorf("ForStatus(%d) is a code with status %d: whose fault it is has changed", status, got)
		}
	}
}

// The table of docs/contract.md lists every code as the catalogue has it.
func TestDocsListTheCatalogue(t *testing.T) {
	rows := tableRows(t, "../../docs/contract.md", []string{"code", "status", "category", "retry", "when"})
	var got [][]string
	for _, row := range rows {
		if row[4] == "" {
			t.Errorf("%s: when it occurs is missing", row[0])
		}
		got = append(got, row[:4])
	}
	var want [][]string
	for _, e := range Catalogue() {
		want = append(want, []string{"`" + string(e.Code) + "`", strconv.Itoa(e.Status), e.Category, e.Retry.String()})
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("docs/contract.md has the rows\n%q\nwant\n%q", got, want)
	}
}

// tableRows returns the cells of the first Markdown table in the file that has
// this header.
func tableRows(t *testing.T, file string, header []string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	start := slices.IndexFunc(lines, func(l string) bool { return slices.Equal(cells(l), header) })
	if start < 0 {
		t.Fatalf("%s has no table with the header %q", file, header)
	}
	var rows [][]string
	for _, line := range lines[start+2:] {
		row := cells(line)
		if row == nil {
			break
		}
		if len(row) != len(header) {
			t.Fatalf("%s: %q has %d cells, want %d", file, line, len(row), len(header))
		}
		rows = append(rows, row)
	}
	return rows
}

// cells returns the cells of one line of a Markdown table, nil for another line.
func cells(line string) []string {
	inner, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
	if !ok {
		return nil
	}
	row := strings.Split(strings.TrimSuffix(inner, "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}
