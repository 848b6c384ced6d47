package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A routeTable finds the route of a request, by the rules of http.ServeMux.
type routeTable struct {
	mux       *http.ServeMux
	byPattern map[string]*Route
}

// ordinary is the route of requests that no pattern matches.
var ordinary = &Route{}

// newRouteTable returns the table of routes, and what is wrong with their patterns.
func newRouteTable(routes []Route) (*routeTable, []problem) {
	t := &routeTable{http.NewServeMux(), make(map[string]*Route, len(routes))}
	var bad []problem
	for i := range routes {
		r := &routes[i]
		if text := t.add(r, routes[:i]); text != "" {
			bad = append(bad, problem{field: index("routes", i) + ".pattern", text: text})
		}
	}
	return t, bad
}

// add adds r, or returns why it cannot be; before are the routes added before.
func (t *routeTable) add(r *Route, before []Route) string {
	method, path, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		method, path = "", r.Pattern
	}
	switch {
	case !strings.HasPrefix(strings.TrimLeft(path, " \t"), "/"):
		return fmt.Sprintf("must be a path that begins with /, with a method before it if only that one counts; is %q", r.Pattern)
	case method != strings.ToUpper(method):
		return fmt.Sprintf("must have its method in capitals, is %q", r.Pattern)
	case !registers(http.NewServeMux(), r.Pattern):
		return fmt.Sprintf("is no pattern of net/http.ServeMux: %q", r.Pattern)
	}
	if registers(t.mux, r.Pattern) {
		t.byPattern[r.Pattern] = r
		return ""
	}
	for _, other := range before {
		pair := http.NewServeMux()
		if registers(pair, other.Pattern) && !registers(pair, r.Pattern) {
			return fmt.Sprintf("%q and %q match some of the same requests, and neither is the more specific", r.Pattern, other.Pattern)
		}
	}
	return fmt.Sprintf("%q matches requests of another pattern, and neither is the more specific", r.Pattern)
}

// registers reports whether mux takes pattern; ServeMux panics if it does not.
func registers(mux *http.ServeMux, pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	mux.Handle(pattern, http.NotFoundHandler())
	return true
}

// match returns the route of a request; never nil.
//
// Many upstreams take a path with and without a slash at its end for the same, so
// a route's rules hold for both.
func (t *routeTable) match(r *http.Request) *Route {
	if route, ok := t.lookup(r); ok {
		return route
	}
	if !strings.HasSuffix(r.URL.Path, "/") {
		return ordinary
	}
	u := *r.URL
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	trimmed := http.Request{Method: r.Method, Host: r.Host, URL: &u}
	if route, ok := t.lookup(&trimmed); ok {
		return route
	}
	return ordinary
}

func (t *routeTable) lookup(r *http.Request) (*Route, bool) {
	_, pattern := t.mux.Handler(r)
	route, ok := t.byPattern[pattern]
	return route, ok
}

// unambiguous reports whether a path means the same to the gateway and to any
// upstream. Upstreams differ over dot segments, and over separators that are
// escaped; a path with these could slip past the route that it is meant for.
func unambiguous(u *url.URL) bool {
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		s, err := url.PathUnescape(segment)
		if err != nil || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00") {
			return false
		}
	}
	return true
}

// alike reports whether a request has its route also for an upstream that cuts off
// what stands behind a semicolon in a segment, as some do.
func (t *routeTable) alike(r *http.Request) bool {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	cut, err := url.ParseRequestURI(strings.Join(segments, "/"))
	return err == nil && unambiguous(cut) && t.match(&http.Request{Method: r.Method, Host: r.Host, URL: cut}) == t.match(r)
}

// plainMethod reports whether a method means the same to the gateway and to any
// upstream: many do not tell post from POST. Of CONNECT, ServeMux takes the path
// as it is, doubled slashes too.
func plainMethod(method string) bool {
	return method == strings.ToUpper(method) && method != http.MethodConnect
}
