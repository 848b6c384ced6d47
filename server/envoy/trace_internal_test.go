package envoy

import (
	"context"
	"testing"

	"google.golang.org/grpc/metadata"
)

// The checked request says which trace it belongs to; where it does not, Envoy's own call may.
func TestTheTraceOfTheCheckedRequestIsPassedOn(t *testing.T) {
	ofEnvoy := metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", "envoy's", "tracestate", "envoy=1"))
	for _, c := range []struct {
		name         string
		from         context.Context
		headers      map[string]string
		parent, more string
	}{
		{"no trace", t.Context(), nil, "", ""},
		{"the request's", ofEnvoy, map[string]string{"traceparent": "request's"}, "request's", ""},
		{"the request's with its state", ofEnvoy, map[string]string{"traceparent": "request's", "tracestate": "r=1"}, "request's", "r=1"},
		{"Envoy's", ofEnvoy, nil, "envoy's", "envoy=1"},
	} {
		md, _ := metadata.FromIncomingContext(passOn(c.from, c.headers, "id"))
		first := func(name string) string {
			if v := md.Get(name); len(v) == 1 {
				return v[0]
			}
			return ""
		}
		if first("traceparent") != c.parent || first("tracestate") != c.more || first("x-request-id") != "id" {
			t.Errorf("%s: passed on is %v", c.name, md)
		}
	}
}
