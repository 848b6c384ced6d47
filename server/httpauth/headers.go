package httpauth

import (
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/overten/sluice/limiter/contract"
	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// tell writes the headers of a decision, if there is one that a window made.
func (s *Server) tell(w http.ResponseWriter, d *sluicev1.Decision) {
	if d == nil || d.GetLimit() == 0 {
		return
	}
	contract.RateLimit{
		Limit: d.GetLimit(), Remaining: d.GetRemaining(), Reset: millis(d.GetResetAfterMs()), RetryAfter: millis(d.GetRetryAfterMs()),
	}.Set(w.Header(), s.Now())
	if s.Fields {
		setFields(w.Header(), d)
	}
}

func millis(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

// seconds returns milliseconds in whole seconds, rounded up.
func seconds(ms uint32) int64 { return (int64(ms) + 999) / 1000 }

// setFields writes RateLimit-Policy and RateLimit, as draft-ietf-httpapi-ratelimit-headers-11 has
// them: an item for each window, named by its length. It tells lengths in whole seconds only: of others
// the name alone tells.
func setFields(h http.Header, d *sluicev1.Decision) {
	var policy, state httpsfv.List
	for _, w := range d.GetWindows() {
		whole := w.GetPerMs()%1000 == 0
		name := strconv.FormatUint(uint64(w.GetPerMs()), 10) + "ms"
		if whole {
			name = strconv.FormatInt(seconds(w.GetPerMs()), 10) + "s"
		}
		p, r := httpsfv.NewItem(name), httpsfv.NewItem(name)
		p.Params.Add("q", int64(w.GetLimit()))
		if whole {
			p.Params.Add("w", seconds(w.GetPerMs()))
		}
		r.Params.Add("r", int64(w.GetRemaining()))
		r.Params.Add("t", seconds(w.GetResetAfterMs()))
		policy, state = append(policy, p), append(state, r)
	}
	for name, list := range map[string]httpsfv.List{"RateLimit-Policy": policy, "RateLimit": state} {
		if v, err := httpsfv.Marshal(list); err == nil && len(list) > 0 {
			h.Set(name, v)
		}
	}
}

// decidedHeaders writes the headers of a check's answer.
func decidedHeaders(s *Server, w http.ResponseWriter, resp *sluicev1.CheckResponse) {
	s.tell(w, resp.GetDecision())
}

// acquiredHeaders writes the headers of an acquisition's answer.
func acquiredHeaders(s *Server, w http.ResponseWriter, resp *sluicev1.AcquireResponse) {
	s.tell(w, resp.GetDecision())
	if !resp.GetGranted() && resp.RetryAfterMs != nil {
		contract.SetRetryAfter(w.Header(), millis(resp.GetRetryAfterMs()))
	}
}
