package httpauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v4"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
	"github.com/overten/sluice/server/httpauth"
)

const (
	limitedMessage = "Too many requests. Please wait a moment and try again."
	invalidMessage = "The API key is missing, malformed or no longer valid."
)

// post sends JSON with a good token, and returns the answer's members.
func (r *rig) post(path, body string, headers ...string) (answer, map[string]any) {
	r.t.Helper()
	headers = append([]string{"Content-Type", "application/json", "X-Sluice-Token", token}, headers...)
	a := r.do(http.MethodPost, path, body, headers...)
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		r.t.Fatalf("%s: %q: %v", path, a.body, err)
	}
	return a, m
}

func TestJSON(t *testing.T) {
	r := start(t, nil)
	a, m := r.post("/v1/check", `{"key": "`+key+`", "tier": "pro", "cost": 60}`)
	d, _ := m["decision"].(map[string]any)
	if a.status != 200 || d["allowed"] != true || d["remaining"] != 0.0 || d["exactness"] != "EXACTNESS_EXACT" || d["reset_unix"] != "1800000060" {
		t.Errorf("check: %+v", a)
	}
	a, m = r.post("/v1/check", `{"key": "`+key+`", "tier": "pro"}`)
	d, _ = m["decision"].(map[string]any)
	if a.status != 200 || d["allowed"] != false || d["retry_after_ms"] != 60000.0 || a.header.Get("Retry-After") != "60" {
		t.Errorf("a denial is a result: %+v", a)
	}
	_, m = r.post("/v1/acquire", `{"key": "other", "run_id": "run-1", "ttl_ms": 30000}`)
	lease, _ := m["lease_id"].(string)
	if m["granted"] != true || lease == "" {
		t.Fatalf("acquire: %v", m)
	}
	if a, _ := r.post("/v1/renew", `{"leases": [{"lease_id": "`+lease+`", "ttl_ms": 30000}]}`); !strings.Contains(a.body, "30000") {
		t.Errorf("renew: %+v", a)
	}
	if _, m = r.post("/v1/release", `{"lease_id": "`+lease+`"}`); m["released"] != true {
		t.Errorf("release: %v", m)
	}
}

func TestBadJSONIsExplainedWithoutRepeatingIt(t *testing.T) {
	r := start(t, nil)
	for body, want := range map[string]string{
		``:                                    "is not a JSON CheckRequest",
		`{"key": "sk_secret", "colour": 1}`:   "(line 1:",
		`{"key": sk_secret}`:                  "(line 1:",
		`{"key": "a", "cost": "sk_secret"}`:   "(line 1:22: cost is of another type)",
		`{"key": "sk_secret"} trailing`:       "is not a JSON CheckRequest",
		`{"key": ""}`:                         "/key",
		`{"key": "a", "cost": 1000000001}`:    "/cost",
		`{"key": "a", "tier": "no-such-one"}`: "/tier",
	} {
		a, m := r.post("/v1/check", body)
		message, _ := m["message"].(string)
		if a.status != 400 && a.status != 422 || !strings.Contains(message, want) || strings.Contains(a.body, "sk_secret") {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a, _ := r.post("/v1/check", `{}`, "Content-Type", "text/plain"); a.status != 400 {
		t.Errorf("a body that is said to be no JSON: %+v", a)
	}
	if a, _ := r.post("/v1/check", `{"key": "`+strings.Repeat("k", 1<<20)+`"}`); a.status != 413 {
		t.Errorf("a body that is too large: %d", a.status)
	}
	if a, _ := r.post("/v1/check", `{"key": "a"}`, "X-Sluice-Token", "wrong"); a.status != 401 {
		t.Errorf("a wrong token: %+v", a)
	}
}

// What is described is served, and takes the fields that it is said to take.
func TestOpenAPIDescribesWhatIsServed(t *testing.T) {
	b, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Enum       []string
			}
		}
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	r := start(t, nil)
	for path, methods := range doc.Paths {
		for method := range methods {
			a := r.do(strings.ToUpper(method), strings.ReplaceAll(path, "{id}", "x"), "")
			if a.status == 404 && path != "/v1/leases/{id}" {
				t.Errorf("%s %s is not served", method, path)
			}
		}
	}
	if len(doc.Paths) != 7 {
		t.Errorf("%d paths are described", len(doc.Paths))
	}
	for name, schema := range doc.Components.Schemas {
		of := sluicev1.File_sluice_v1_rate_limiter_proto.Messages().ByName(protoreflect.Name(name))
		if of == nil {
			enum := sluicev1.File_sluice_v1_rate_limiter_proto.Enums().ByName(protoreflect.Name(name))
			if enum == nil && name != "Error" && name != "Status" {
				t.Errorf("there is no message %s", name)
			}
			if enum != nil && len(schema.Enum) != enum.Values().Len() {
				t.Errorf("%s: described are %v", name, schema.Enum)
			}
			for _, value := range schema.Enum {
				if enum.Values().ByName(protoreflect.Name(value)) == nil {
					t.Errorf("%s has no %s", name, value)
				}
			}
			continue
		}
		var fields []string
		for i := range of.Fields().Len() {
			fields = append(fields, string(of.Fields().Get(i).Name()))
		}
		slices.Sort(fields)
		if described := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(described, fields) {
			t.Errorf("%s: described are %v, its fields are %v", name, described, fields)
		}
	}
	for _, reference := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(string(b), -1) {
		if _, ok := doc.Components.Schemas[reference[1]]; !ok {
			t.Errorf("%s is not described", reference[1])
		}
	}
	for _, method := range []string{"check", "acquire", "renew", "release"} {
		if responses := fmt.Sprint(doc.Paths["/v1/"+method]["post"]); !strings.Contains(responses, "Response]") {
			t.Errorf("%s: its answer has no schema", method)
		}
	}
	if a := r.do(http.MethodGet, "/v1/openapi.yaml", ""); a.body != string(b) {
		t.Error("another file is served")
	}
}

// The time that a body takes to arrive was once taken from the node's to decide, and told as its
// failure.
func TestASlowBodyTakesNoTimeToDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		handler := httpauth.NewServer(httpauth.Config{Limiter: untilDeadline{left: &left}, Log: slog.New(slog.DiscardHandler)}).Handler()
		body, caller := io.Pipe()
		go func() {
			_, _ = io.WriteString(caller, `{"key": `)
			<-time.After(1300 * time.Millisecond)
			_, _ = io.WriteString(caller, `"a"}`)
			_ = caller.Close()
		}()
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/check", body)
		req.Header.Set("Content-Type", "application/json")
		handler.ServeHTTP(w, req)
		if w.Code != 200 || left != time.Second {
			t.Errorf("%v are left to decide, and the answer is %d %s; want 1s and 200", left, w.Code, w.Body)
		}
		left = 0
		req = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/auth", nil)
		req.Header.Set("X-Api-Key", key)
		handler.ServeHTTP(httptest.NewRecorder(), req)
		if left != time.Second {
			t.Errorf("%v are left to decide what headers ask, want 1s", left)
		}
	})
}

// untilDeadline is a limiter that notes how long it may take.
type untilDeadline struct {
	httpauth.Limiter
	left *time.Duration
}

func (u untilDeadline) Check(ctx context.Context, _ *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	if deadline, ok := ctx.Deadline(); ok {
		*u.left = time.Until(deadline)
	}
	return new(sluicev1.CheckResponse), ctx.Err()
}

// undecided is a limiter that cannot decide.
type undecided struct{}

func (undecided) err() error {
	st, err := status.New(codes.Unavailable, "no node decided within the deadline").WithDetails(
		&errdetails.ErrorInfo{Reason: "SERVICE_UNAVAILABLE", Domain: "sluice"})
	if err != nil {
		return err
	}
	return st.Err()
}

func (u undecided) Check(context.Context, *sluicev1.CheckRequest) (*sluicev1.CheckResponse, error) {
	return nil, u.err()
}

func (u undecided) Acquire(context.Context, *sluicev1.AcquireRequest) (*sluicev1.AcquireResponse, error) {
	return nil, u.err()
}

func (u undecided) Renew(context.Context, *sluicev1.RenewRequest) (*sluicev1.RenewResponse, error) {
	return nil, u.err()
}

func (u undecided) Release(context.Context, *sluicev1.ReleaseRequest) (*sluicev1.ReleaseResponse, error) {
	return nil, u.err()
}

type face struct{ http.Handler }

func newUndecided() face {
	return face{httpauth.NewServer(httpauth.Config{Limiter: undecided{}, Log: slog.New(slog.DiscardHandler)}).Handler()}
}

func (f face) get(t *testing.T, path string) answer {
	t.Helper()
	w := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	req.Header.Set("X-Api-Key", key)
	f.ServeHTTP(w, req)
	return answer{w.Code, w.Header(), w.Body.String()}
}
