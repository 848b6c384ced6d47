package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// keyJSON is a key as `inspect -o json` prints it, named as in the API.
type keyJSON struct {
	Identity   string          `json:"identity"`
	Found      bool            `json:"found"`
	Status     string          `json:"status"`
	Tier       string          `json:"tier,omitempty"`
	Partition  uint32          `json:"partition"`
	Holder     string          `json:"holder"`
	Generation string          `json:"generation"`
	Copies     []string        `json:"copies"`
	Permitted  bool            `json:"permitted"`
	Exactness  string          `json:"exactness"`
	Windows    []usageJSON     `json:"windows"`
	History    []admissionJSON `json:"history"`
	Truncated  bool            `json:"history_truncated"`
	HorizonMS  uint32          `json:"horizon_ms"`
	Leases     []leaseJSON     `json:"leases"`
	Concurrent uint32          `json:"concurrent"`
	Tombstones uint32          `json:"tombstones"`
	Reset      *bool           `json:"reset,omitempty"` // whether there was anything to forget; absent: not asked for
}

type usageJSON struct {
	Limit        uint32 `json:"limit"`
	PerMS        uint32 `json:"per_ms"`
	Used         uint64 `json:"used"`
	Remaining    uint32 `json:"remaining"`
	ResetAfterMS uint32 `json:"reset_after_ms"`
}

type admissionJSON struct {
	AgeMS uint32 `json:"age_ms"`
	Units uint32 `json:"units"`
}

type leaseJSON struct {
	RunID       string `json:"run_id"`
	TaskID      string `json:"task_id"`
	RequestID   string `json:"request_id"`
	Tier        string `json:"tier"`
	AgeMS       uint64 `json:"age_ms"`
	ExpiresInMS uint32 `json:"expires_in_ms"`
	Holder      string `json:"holder"`
}

func keyOf(resp *adminv1.InspectResponse) keyJSON {
	at := resp.GetPlacement()
	out := keyJSON{
		Identity: resp.GetIdentity(), Found: resp.GetFound(), Status: enumName(resp.GetStatus(), "KEY_STATUS_"), Tier: resp.GetTier(),
		Partition: at.GetPartition(), Holder: at.GetHolder(), Generation: at.GetGeneration(),
		Copies: append([]string{}, at.GetCopies()...), Permitted: at.GetPermitted(),
		Exactness: enumName(resp.GetExactness(), "EXACTNESS_"), HorizonMS: resp.GetHorizonMs(), Truncated: resp.GetHistoryTruncated(),
		Concurrent: resp.GetConcurrent(), Tombstones: resp.GetTombstones(),
		Windows: []usageJSON{}, History: []admissionJSON{}, Leases: []leaseJSON{},
	}
	for _, w := range resp.GetWindows() {
		out.Windows = append(out.Windows, usageJSON{w.GetLimit(), w.GetPerMs(), w.GetUsed(), w.GetRemaining(), w.GetResetAfterMs()})
	}
	for _, a := range resp.GetHistory() {
		out.History = append(out.History, admissionJSON{a.GetAgeMs(), a.GetUnits()})
	}
	for _, l := range resp.GetLeases() {
		out.Leases = append(out.Leases, leaseJSON{
			l.GetRunId(), l.GetTaskId(), l.GetRequestId(), l.GetTier(), l.GetAgeMs(), l.GetExpiresInMs(), l.GetHolder(),
		})
	}
	return out
}

// span returns what a picture of the history shows, in milliseconds: the longest window of
// the tier, or without one all of it.
func (k *keyJSON) span() uint32 {
	var longest uint32
	for _, w := range k.Windows {
		longest = max(longest, w.PerMS)
	}
	if longest == 0 {
		return k.HorizonMS
	}
	return longest
}

const (
	historySlices = 12 // of the history's picture
	barWidth      = 40 // of the slice with most units
)

// printHistory draws when units were admitted: a bar for each slice of the longest window.
func printHistory(w io.Writer, k keyJSON) {
	span := k.span()
	var units [historySlices]uint64 // the oldest first
	var total, most uint64
	for _, a := range k.History {
		if a.AgeMS >= span {
			continue // no window of the tier counts it
		}
		i := historySlices - 1 - uint64(a.AgeMS)*historySlices/uint64(span)
		units[i] += uint64(a.Units)
		most = max(most, units[i])
		total += uint64(a.Units)
	}
	if total == 0 {
		fmt.Fprintln(w, "\nhistory: nothing is counted")
		return
	}
	fmt.Fprintf(w, "\nhistory: %d admitted in the last %v%s\n", total, millis(span),
		ifNot(!k.Truncated, fmt.Sprintf(" (of the newest %d entries: there may be more)", len(k.History))))
	label := func(i int) string { // when the slice begins
		return "-" + (millis(span) * time.Duration(historySlices-i) / historySlices).Round(time.Millisecond).String()
	}
	width := 0
	for i := range historySlices {
		width = max(width, len(label(i)))
	}
	for i, n := range units {
		bar := strings.Repeat("█", int((n*barWidth+most-1)/most))
		line := fmt.Sprintf("  %*s  %-*s  %d", width, label(i), barWidth, bar, n)
		fmt.Fprintln(w, line)
	}
}
