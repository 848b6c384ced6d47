//go:build browser

package browser_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// aName is a name for the loopback address which a browser does not know to be one: over plain
// HTTP it trusts it as little as the address of another machine.
const aName = "operators.test"

// A browser is a page in Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex // guards what follows
	complaint []string   // what the browser logged as an error or reported as an issue
	asked     []string   // URLs
}

// open starts a browser with an empty page.
func open(t *testing.T, width, height int) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.WindowSize(width, height), // the tests may be root's, in a container
		chromedp.Flag("host-resolver-rules", "MAP "+aName+" 127.0.0.1"),
	)
	timed, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	allocated, end := chromedp.NewExecAllocator(timed, options...)
	t.Cleanup(end)
	ctx, shut := chromedp.NewContext(allocated)
	t.Cleanup(shut)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	for _, domain := range []cdp.Command[cdp.Empty, cdp.Empty]{cdplog.Enable, audits.Enable, runtime.Enable} {
		_, failed := chromedp.Call(ctx, domain, cdp.Empty{})
		err = errors.Join(err, failed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hear notes what the browser tells.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			b.complaint = append(b.complaint, e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		b.complaint = append(b.complaint, fmt.Sprintf("console: %v", e.Type))
	case *runtime.EventExceptionThrown:
		b.complaint = append(b.complaint, e.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		details, _ := json.Marshal(e.Issue)
		b.complaint = append(b.complaint, string(details))
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// get returns what an action does.
func get[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// complaints returns what the browser found wrong so far.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.complaint
}

// asksOnly fails the test if the browser asked anybody but host, or with a secret in a URL.
func (b *browser) asksOnly(host string, secrets ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 0 {
		b.t.Error("the browser asked for nothing")
	}
	for _, asked := range b.asked {
		u, err := url.Parse(asked)
		if err != nil || u.Host != host {
			b.t.Errorf("the browser asked for %s", asked)
		}
		for _, secret := range secrets {
			if strings.Contains(asked, secret) {
				b.t.Errorf("a key is in the URL %s", asked)
			}
		}
	}
}

// text returns what a reader sees of the elements of a selector.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return get(b, chromedp.Evaluate[string](fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText ?? e.textContent).join("\n")`, selector)))
}

func (b *browser) count(selector string) int {
	b.t.Helper()
	return get(b, chromedp.Evaluate[int](fmt.Sprintf(`document.querySelectorAll(%q).length`, selector)))
}

// explain fills the form in and waits for its answer.
func (b *browser) explain(key string) {
	b.t.Helper()
	b.do(
		chromedp.SendKeys(chromedp.CSS(`input[name="key"]`), key),
		chromedp.Click(chromedp.CSS(`#key button`)),
		chromedp.WaitVisible(chromedp.CSS(`#key .answer, #key .amiss`)),
	)
}
