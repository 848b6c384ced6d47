package contract

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func TestFailedTaskBytes(t *testing.T) {
	for _, tt := range []struct {
		task FailedTask
		want string
	}{
		{NewFailedTask("task_1", Error{UpstreamError, "The renderer is down."}, 3, 8250*time.Millisecond+999*time.Microsecond),
			`{"task_id":"task_1","status":"failed","error":{"code":"upstream_error","message":"The renderer is down."},"credits_used":3,"duration_ms":8250}`},
		{NewFailedTask("task_2", Error{"teapot", "main.go:12"}, 0, -time.Second),
			`{"task_id":"task_2","status":"failed","error":{"code":"internal_error","message":"Something went wrong on our side. Support can look it up by the request id."},"credits_used":0,"duration_ms":0}`},
		{NewFailedTask("task_3", Error{Code: Gone}, math.MaxUint64, math.MaxInt64),
			`{"task_id":"task_3","status":"failed","error":{"code":"gone","message":"This resource is no longer kept."},"credits_used":18446744073709551615,"duration_ms":9223372036854}`},
	} {
		got, err := json.Marshal(tt.task)
		if err != nil || string(got) != tt.want {
			t.Errorf("Marshal is\n%s, %v\nwant\n%s", got, err, tt.want)
		}
		if parsed, ok := ParseFailedTask(got); !ok || parsed != tt.task {
			t.Errorf("ParseFailedTask(%s) = %+v, %v; want %+v", got, parsed, ok, tt.task)
		}
	}
}

const goodTask = `{"task_id":"t","status":"failed","error":{"code":"gone","message":"m"},"credits_used":0,"duration_ms":5}`

// nearTasks are goodTask with one thing wrong: old replaced by new.
var nearTasks = []struct{ old, new string }{
	{`"t"`, `""`}, {`"t"`, `null`}, {`"t"`, `7`},
	{`"failed"`, `"Failed"`}, {`"failed"`, `"running"`}, {`"failed"`, `null`},
	{`"gone"`, `"teapot"`}, {`"gone"`, `null`}, {`"m"`, `null`}, {`"code"`, `"Code"`},
	{`"m"`, `"m","trace":"main.go:12"`}, {`"m"`, `"m","code":"gone"`}, {`,"message":"m"`, ``},
	{`{"code":"gone","message":"m"}`, `"gone"`}, {`{"code":"gone","message":"m"}`, `null`},
	{`:0`, `:-1`}, {`:0`, `:0.5`}, {`:0`, `:null`}, {`:0`, `:"0"`}, {`:0`, `:18446744073709551616`},
	{`:5`, `:-5`}, {`:5`, `:1e3`}, {`,"duration_ms":5`, ``}, {`:5`, `:5,"duration_ms":6`}, {`:5`, `:5,"note":""`},
	{`{"task_id"`, `{"TASK_ID"`}, {goodTask, goodTask + goodTask}, {goodTask, `[` + goodTask + `]`}, {goodTask, ``},
}

func TestParseFailedTaskRejectsNearMisses(t *testing.T) {
	if _, ok := ParseFailedTask([]byte(goodTask)); !ok {
		t.Fatal("the good task is refused")
	}
	for _, n := range nearTasks {
		b := strings.Replace(goodTask, n.old, n.new, 1)
		if b == goodTask {
			t.Fatalf("%q is not in the good task", n.old)
		}
		if got, ok := ParseFailedTask([]byte(b)); ok || got != (FailedTask{}) {
			t.Errorf("ParseFailedTask(%s) = %+v, %v", b, got, ok)
		}
	}
}

// FuzzParseFailedTask: what is accepted keeps its promises and survives a
// round trip.
func FuzzParseFailedTask(f *testing.F) {
	f.Add([]byte(goodTask))
	for _, n := range nearTasks {
		f.Add([]byte(strings.Replace(goodTask, n.old, n.new, 1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		task, ok := ParseFailedTask(b)
		if !ok {
			return
		}
		if _, known := Lookup(task.Error.Code); !known || task.Status != TaskFailed || task.TaskID == "" {
			t.Fatalf("ParseFailedTask(%q) = %+v", b, task)
		}
		again, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ParseFailedTask(again); !ok || got != task {
			t.Fatalf("ParseFailedTask(%q) = %+v, %v; want %+v", again, got, ok, task)
		}
	})
}
