package statusz

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

const (
	maxBody  = 4 << 10         // bytes of a form: a key has at most 256, written in three times as many
	patience = 5 * time.Second // with the node that holds the key
)

// A keyAnswer is what the form was answered. It has neither the key nor anything else that was
// typed: a key may have been put into the wrong field.
type keyAnswer struct {
	Error   string // why there is no more than this; "": there is
	Key     *adminv1.InspectResponse
	Status  string
	Exact   string
	Windows []window
	Runs    []run
	Bars    []bar
	Counted uint64        // units in the bars
	Over    time.Duration // what the bars cover
}

// A window is what one window of the key's tier counts.
type window struct {
	*adminv1.Window
	Per, Grows string
	Much, Full float64 // from how many units on the meter warns, and from how many nothing passes
}

// A run is a lease of the key.
type run struct {
	*adminv1.Lease
	Age, Left string
}

// A bar is what was admitted in a slice of the longest window.
type bar struct {
	X, Height float64
	Title     string
}

// explain reads the form and asks for its key. The code is that of HTTP.
func (p *page) explain(w http.ResponseWriter, r *http.Request) (answer *keyAnswer, code int) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &keyAnswer{Error: "the form is too large: a key has at most 256 bytes"}, http.StatusRequestEntityTooLarge
		}
		// The error of the parser tells what it met, which may be a part of the key.
		return &keyAnswer{Error: "the form cannot be read"}, http.StatusBadRequest
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	resp, err := p.admin.Inspect(ctx, &adminv1.InspectRequest{Key: r.PostForm.Get("key"), Tier: r.PostForm.Get("tier")})
	if err != nil {
		return &keyAnswer{Error: readable(err)}, httpCode(err)
	}
	return answerOf(resp), http.StatusOK
}

// readable is an error of a call as a person would want to read it: of a field it says which.
func readable(err error) string { return strings.TrimPrefix(status.Convert(err).Message(), "/") }

func httpCode(err error) int {
	switch status.Code(err) {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func answerOf(resp *adminv1.InspectResponse) *keyAnswer {
	a := &keyAnswer{Key: resp, Status: keyStatus[resp.GetStatus()], Exact: exactness[resp.GetExactness()]}
	span := resp.GetHorizonMs()
	if len(resp.GetWindows()) > 0 {
		span = 0
	}
	within := "in "
	if resp.GetHistoryTruncated() {
		within = "within " // what is left out goes before
	}
	for _, of := range resp.GetWindows() {
		grows := "all of it is free"
		if of.GetResetAfterMs() > 0 {
			grows = within + millis(of.GetResetAfterMs()).String()
		}
		a.Windows = append(a.Windows, window{of, millis(of.GetPerMs()).String(), grows, 0.8 * float64(of.GetLimit()), float64(of.GetLimit()) - 0.5})
		span = max(span, of.GetPerMs())
	}
	for _, l := range resp.GetLeases() {
		a.Runs = append(a.Runs, run{l, brief(millis(l.GetAgeMs())), millis(l.GetExpiresInMs()).String()})
	}
	a.Over = millis(span)
	a.Bars, a.Counted = bars(resp.GetHistory(), span)
	return a
}

// bars draws when units were admitted, in slices of the last span milliseconds.
func bars(history []*adminv1.Admission, span uint32) (all []bar, total uint64) {
	const slices, width, height = 30, 16.0, 60.0
	var units [slices]uint64 // the oldest first
	var most uint64
	for _, a := range history {
		if a.GetAgeMs() >= span {
			continue // no window of the tier counts it
		}
		i := slices - 1 - uint64(a.GetAgeMs())*slices/uint64(span)
		units[i] += uint64(a.GetUnits())
		most, total = max(most, units[i]), total+uint64(a.GetUnits())
	}
	if total == 0 {
		return nil, 0
	}
	for i, n := range units {
		from := millis(span) * time.Duration(slices-i) / slices
		all = append(all, bar{
			X: width * float64(i), Height: height * float64(n) / float64(most),
			Title: grouped(n) + " admitted from " + from.Round(time.Millisecond).String() + " ago on",
		})
	}
	return all, total
}
