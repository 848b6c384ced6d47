package httplimit_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/client/httplimit"
)

// A stub in the place of a *client.Client: it denies everything.
type denier struct{ httplimit.Limiter }

func (denier) Check(context.Context, client.CheckRequest) (client.Decision, error) {
	return client.Decision{
		Limit: 10, Reason: client.RateLimited, Reset: 17 * time.Second, RetryAfter: 17 * time.Second,
		Exactness: client.Exact,
	}, nil
}

func ExampleNew() {
	limit, err := httplimit.New(denier{}, httplimit.Config{
		Key: func(r *http.Request) (key, tier string, err error) {
			key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok {
				return "", "", fmt.Errorf("no bearer token")
			}
			return key, "", nil
		},
		Run: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == "/excel/generate" },
	})
	if err != nil {
		log.Fatal(err)
	}
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })

	r := httptest.NewRequest("GET", "/verify", nil)
	r.Header.Set("Authorization", "Bearer sk_live_example")
	w := httptest.NewRecorder()
	limit(api).ServeHTTP(w, r)

	fmt.Println(w.Code, "after", w.Header().Get("Retry-After"))
	fmt.Print(w.Body)
	// Output:
	// 429 after 17
	// {"success":false,"error":"rate_limit_exceeded","message":"Too many requests. Please wait a moment and try again."}
}
