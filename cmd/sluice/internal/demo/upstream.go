package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/contract"
)

// Leases takes over leases that a gateway handed on. *client.Client does.
type Leases interface {
	Attach(leaseID string, ttl time.Duration) *client.Lease
}

// An Upstream is the demo's API, an http.Handler. Close it when done.
type Upstream struct {
	mux   *http.ServeMux
	tasks *tasks
}

// NewUpstream returns an upstream whose tasks keep their leases alive through
// leases.
func NewUpstream(leases Leases) *Upstream {
	u := &Upstream{mux: http.NewServeMux(), tasks: newTasks(leases)}
	u.mux.HandleFunc("GET /{$}", index)
	u.mux.HandleFunc("GET /verify", verify)
	u.mux.HandleFunc("POST /excel/generate", u.generate)
	u.mux.HandleFunc("GET /tasks/{id}", u.task)
	u.mux.HandleFunc("POST /files", files)
	u.mux.HandleFunc("POST /templates", templates)
	u.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, contract.NotFound, "There is no such endpoint. GET / lists what there is.")
	})
	return u
}

// Close ends the tasks that still run, and returns when their leases are released.
// Close the client that they are renewed through after that.
func (u *Upstream) Close() { u.tasks.close() }

// ServeHTTP answers a request.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if query := r.URL.Query(); query.Has("fail") {
		code := contract.Code(query.Get("fail"))
		if _, ok := contract.Lookup(code); !ok {
			refuse(w, contract.InvalidRequest, "The catalogue has no error of that name.")
			return
		}
		refuse(w, code, "")
		return
	}
	u.mux.ServeHTTP(w, r)
}

func index(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"success": true, "endpoints": []string{
		"GET /verify", `POST /excel/generate {"ms": 500}`, `POST /excel/generate {"ms": 5000, "async": true}`,
		"GET /tasks/{id}", "POST /files", "POST /templates", "GET /verify?fail=not_found",
	}})
}

func verify(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"success": true, "status": "active", "organization": "Demo"})
}

func files(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		refuse(w, contract.InvalidRequest, "The body could not be read.")
		return
	}
	answer(w, http.StatusCreated, map[string]any{"success": true, "file_id": newID("file"), "bytes": n})
}

func templates(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusCreated, map[string]any{"success": true, "template_id": newID("template")})
}

// A job is the body of POST /excel/generate.
type job struct {
	MS    int64         `json:"ms"`    // how long it takes
	Async bool          `json:"async"` // answer with a task
	Fail  contract.Code `json:"fail"`  // what a task fails with in the end; empty: it succeeds
}

const (
	maxJob     = 10 * time.Minute
	maxJobBody = 1 << 20
)

// generate is a run.
func (u *Upstream) generate(w http.ResponseWriter, r *http.Request) {
	j, e := readJob(w, r)
	if e != nil {
		contract.WriteError(w, *e)
		return
	}
	if j.Async {
		t := u.tasks.start(j, r.Header.Get(gateway.LeaseHeader))
		if t == nil {
			refuse(w, contract.ServiceUnavailable, "")
			return
		}
		answer(w, http.StatusAccepted, t.report())
		return
	}
	t := newTask()
	timer := time.NewTimer(j.takes())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return // nobody waits for it any more
	}
	t.finish(j.outcome())
	if j.Fail != "" {
		refuse(w, j.Fail, "")
		return
	}
	answer(w, http.StatusOK, t.report())
}

func (j job) takes() time.Duration { return time.Duration(j.MS) * time.Millisecond }

// outcome is what a run of the job ends with: nil for success.
func (j job) outcome() *contract.Error {
	if j.Fail == "" {
		return nil
	}
	return &contract.Error{Code: j.Fail}
}

func readJob(w http.ResponseWriter, r *http.Request) (job, *contract.Error) {
	var j job
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJobBody))
	if err != nil {
		return j, &contract.Error{Code: contract.InvalidRequest, Message: "The body could not be read, or is too long."}
	}
	if len(body) > 0 {
		err = json.Unmarshal(body, &j)
	}
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return j, &contract.Error{Code: contract.ValidationError, Message: fmt.Sprintf("/%s: must be a %v.", wrong.Field, wrong.Type.Kind())}
	case err != nil:
		return j, &contract.Error{Code: contract.InvalidRequest, Message: "The body must be a JSON object."}
	case j.MS < 0 || j.MS > maxJob.Milliseconds():
		return j, &contract.Error{Code: contract.ValidationError, Message: fmt.Sprintf("/ms: must be from 0 to %d.", maxJob.Milliseconds())}
	}
	if _, ok := contract.Lookup(j.Fail); !ok && j.Fail != "" {
		return j, &contract.Error{Code: contract.ValidationError, Message: "/fail: must be an error of the catalogue."}
	}
	return j, nil
}

// task answers with what became of a task.
func (u *Upstream) task(w http.ResponseWriter, r *http.Request) {
	t := u.tasks.find(r.PathValue("id"))
	if t == nil {
		refuse(w, contract.NotFound, "There is no such task.")
		return
	}
	answer(w, http.StatusOK, t.report())
}

// refuse answers with an error; those that are worth a wait say how long.
func refuse(w http.ResponseWriter, code contract.Code, message string) {
	if entry, _ := contract.Lookup(code); entry.Retry == contract.RetryAfter {
		contract.SetRetryAfter(w.Header(), 30*time.Second)
	}
	contract.WriteError(w, contract.Error{Code: code, Message: message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the client has gone
}
