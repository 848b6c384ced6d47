package statusz

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"log/slog"
	"net/http"
	"runtime/metrics"
	"strconv"
	"time"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// Path is where the page is.
const Path = "/statusz"

// An Admin answers as the operators' service does.
type Admin interface {
	Members(context.Context, *adminv1.MembersRequest) (*adminv1.MembersResponse, error)
	Inspect(context.Context, *adminv1.InspectRequest) (*adminv1.InspectResponse, error)
}

// A Node tells of itself what the service does not. All fields are required.
type Node struct {
	Self      func() Self
	Placement func() (owners, holders []string) // by partition; "": not known
	Rates     *Rates
	Clock     func() (limiter.Instant, time.Time)
}

// Self is how the node is.
type Self struct {
	peer.NodeStatus
	NotReady              string // why no calls should be sent to it; "": they should
	MaxKeys, Leases       int
	TableTaken, TableUsed int64 // bytes
}

type page struct {
	admin Admin
	node  Node
	log   *slog.Logger
}

// New returns the page of a node.
func New(admin Admin, node Node, log *slog.Logger) http.Handler {
	return &page{admin, node, log}
}

var (
	//go:embed page.html
	layout string
	//go:embed page.css
	style string

	parsed = template.Must(template.New("page").Funcs(template.FuncMap{"grouped": grouped, "brief": brief, "size": size}).Parse(layout))

	// Nothing may be loaded or run, and the style is the one that is known.
	policy = "default-src 'none'; style-src 'sha256-" + fingerprint(style) + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

	crossOrigin = http.NewCrossOriginProtection()
)

func fingerprint(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// content is what the page shows.
type content struct {
	Style     template.CSS
	Path      string
	Refresh   int // seconds; 0: not by itself
	At        string
	Self      Self
	Process   int64 // bytes of the whole process
	Members   members
	Ring      ring
	Decisions decisions
	Answer    *keyAnswer // nil: nothing was asked for
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		p.write(w, r, nil, http.StatusOK)
	case http.MethodPost:
		if err := crossOrigin.Check(r); err != nil {
			http.Error(w, "the form was sent by another site", http.StatusForbidden)
			return
		}
		answer, code := p.explain(w, r)
		p.write(w, r, answer, code)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "only GET and POST are known here", http.StatusMethodNotAllowed)
	}
}

// secure says what a browser may do with the page. The referrer is told to the page itself
// alone: were it told to nobody, browsers would send the form as from nowhere, and over plain HTTP
// it could not be told from a form of another site.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// write makes the page. It is made whole first, so that a fault of ours is no half page.
func (p *page) write(w http.ResponseWriter, r *http.Request, answer *keyAnswer, code int) {
	now, wall := p.node.Clock()
	owners, holders := p.node.Placement()
	c := content{
		Style: template.CSS(style), Path: Path, At: wall.UTC().Format("2006-01-02 15:04:05 UTC"), Self: p.node.Self(), Process: inUse(),
		Members: p.members(r.Context()), Ring: drawRing(owners, holders), Decisions: p.decisions(now), Answer: answer,
	}
	if r.Method == http.MethodGet {
		c.Refresh = refresh(r)
	}
	var b bytes.Buffer
	if err := parsed.Execute(&b, c); err != nil {
		p.log.LogAttrs(r.Context(), slog.LevelError, "the status page cannot be made", slog.String("error", err.Error()))
		http.Error(w, "the page cannot be made: see the node's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes())
}

// refresh is how often the page is to be loaded again, in seconds: ?refresh=N.
func refresh(r *http.Request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("refresh"))
	if err != nil || n < 1 || n > 3600 {
		return 0
	}
	return n
}

// inUse is the memory that the process has from the system for Go.
func inUse() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
