package contract

import "time"

// TaskFailed is the status of a FailedTask.
const TaskFailed = "failed"

// A FailedTask is what GET /tasks/{task_id} answers, with status 200, when an
// asynchronous task has failed for good.
type FailedTask struct {
	TaskID      string `json:"task_id"`
	Status      string `json:"status"` // always TaskFailed
	Error       Error  `json:"error"`
	CreditsUsed uint64 `json:"credits_used"`
	DurationMS  uint64 `json:"duration_ms"` // from start to failure
}

// NewFailedTask returns the task that failed with e after it ran for d. As in
// WriteError, an unknown code becomes internal_error and an empty message the
// default. d is cut to whole milliseconds; a negative one counts as 0.
func NewFailedTask(taskID string, e Error, creditsUsed uint64, d time.Duration) FailedTask {
	return FailedTask{
		TaskID:      taskID,
		Status:      TaskFailed,
		Error:       e.complete(),
		CreditsUsed: creditsUsed,
		DurationMS:  uint64(max(d, 0).Milliseconds()),
	}
}

// ParseFailedTask reads b as a failed task. It is as strict as ParseBody: the
// five members and no other, status failed, a task id that is not empty, and an
// error with a code of the catalogue and a message.
func ParseFailedTask(b []byte) (FailedTask, bool) {
	members, ok := object(b, "task_id", "status", "error", "credits_used", "duration_ms")
	if !ok {
		return FailedTask{}, false
	}
	id, ok1 := value[string](members["task_id"])
	status, ok2 := value[string](members["status"])
	credits, ok3 := value[uint64](members["credits_used"])
	duration, ok4 := value[uint64](members["duration_ms"])
	e, ok5 := parseError(members["error"])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || id == "" || status != TaskFailed {
		return FailedTask{}, false
	}
	return FailedTask{TaskID: id, Status: status, Error: e, CreditsUsed: credits, DurationMS: duration}, true
}

func parseError(b []byte) (Error, bool) {
	members, ok := object(b, "code", "message")
	if !ok {
		return Error{}, false
	}
	code, ok1 := value[Code](members["code"])
	message, ok2 := value[string](members["message"])
	_, known := Lookup(code)
	if !ok1 || !ok2 || !known {
		return Error{}, false
	}
	return Error{code, message}, true
}
