//go:build browser

package browser_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The page of one node, as a browser shows it, tells of all three; whichever holds a key, the
// form explains it; and the browser has nothing to complain of.
func TestStatusz(t *testing.T) {
	s := start(t)
	for node, name := range []string{"", aName} { // by its address and by a name
		b := open(t, 1200, 900)
		host := s.Nodes[node].AdminAddress()
		if _, port, err := net.SplitHostPort(host); err != nil {
			t.Fatal(err)
		} else if name != "" {
			host = net.JoinHostPort(name, port)
		}
		b.do(chromedp.Navigate("http://" + host + "/statusz"))
		b.showsThree(s.Nodes[node].Name)
		b.showsRates()
		for _, key := range []string{shown, refused} {
			b.showsKey(key)
		}
		if all := b.complaints(); len(all) > 0 {
			t.Errorf("%s: the browser complains: %q", host, all)
		}
		b.asksOnly(host, shown, refused)
		b.wouldComplain()
	}
	s.hides(t, shown, refused)
}

func (b *browser) showsThree(self string) {
	b.t.Helper()
	if h1 := b.text("h1"); !strings.Contains(h1, self) || !strings.Contains(h1, "ready") || strings.Contains(h1, "not ready") {
		b.t.Errorf("the heading is %q", h1)
	}
	if well := b.text("#members .well"); !strings.Contains(well, "healthy: 3 members, in agreement") {
		b.t.Errorf("the members are %q", b.text("#members"))
	}
	for class, name := range map[string]string{"m0": "n1", "m1": "n2", "m2": "n3"} {
		if b.count(".ring path."+class) < 50 || !strings.Contains(b.text(".legend"), name) {
			b.t.Errorf("%s has %d arcs in the ring; the legend is %q", name, b.count(".ring path."+class), b.text(".legend"))
		}
	}
	if ring := b.text(".ring text"); !strings.Contains(ring, "1,021") || !strings.Contains(ring, "all with their owners") {
		b.t.Errorf("in the ring stands %q", ring)
	}
}

// showsRates loads the page again until two samples were taken.
func (b *browser) showsRates() {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); b.count("#decisions .chart .r0[d^=M]") == 0; {
		if time.Now().After(end) {
			b.t.Fatalf("there are no rates: %q", b.text("#decisions"))
		}
		<-time.After(200 * time.Millisecond)
		b.do(chromedp.Reload())
	}
	if tiers := b.text("#decisions table"); !strings.Contains(tiers, "enterprise") || !strings.Contains(tiers, "allowed") {
		b.t.Errorf("by tier: %q", tiers)
	}
}

func (b *browser) showsKey(key string) {
	b.t.Helper()
	b.explain(key)
	// Until its answer comes, that of the key before may still be there.
	for end := time.Now().Add(20 * time.Second); ; <-time.After(50 * time.Millisecond) {
		answer := b.text("#key")
		explained := strings.Contains(answer, "60 per 1m0s") && strings.Contains(answer, "exact: from the complete history")
		if explained && strings.Contains(answer, "suspended") == (key == refused) {
			break
		}
		if time.Now().After(end) {
			b.t.Fatalf("the answer is %q", answer)
		}
	}
	all := b.text("body") + get(b, chromedp.Location()) + get(b, chromedp.OuterHTML(chromedp.CSS("html"))) + get(b, chromedp.Value(chromedp.CSS(`input[name="key"]`)))
	if strings.Contains(all, key) {
		b.t.Error("the key is in the page")
	}
}

// wouldComplain makes sure that a violation of the page's policy does not go unheard.
func (b *browser) wouldComplain() {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`{const s = document.createElement("script"); s.textContent = "window.ran = true"; document.body.append(s)}`))
	for end := time.Now().Add(5 * time.Second); len(b.complaints()) == 0; {
		if time.Now().After(end) {
			b.t.Error("a script that must not run is not complained of")
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	if get(b, chromedp.Evaluate[bool](`window.ran === true`)) {
		b.t.Error("a script that was put into the page has run")
	}
}
