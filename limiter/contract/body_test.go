package contract

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWriteErrorBytes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    Error
		status int
		body   string
	}{
		{"given message", Error{NotFound, "There is no run r1."}, 404,
			`{"success":false,"error":"not_found","message":"There is no run r1."}`},
		{"default message", Error{Code: Gone}, 410,
			`{"success":false,"error":"gone","message":"This resource is no longer kept."}`},
		{"quotes and line breaks", Error{Conflict, "a \"b\"\n"}, 409,
			`{"success":false,"error":"conflict","message":"a \"b\"\n"}`},
		{"invalid UTF-8 is replaced", Error{InvalidRequest, "a\xff"}, 400,
			`{"success":false,"error":"invalid_request","message":"a\ufffd"}`},
		{"the message of an unknown code is dropped", Error{"teapot", "main.go:12"}, 500,
			`{"success":false,"error":"internal_error","message":"Something went wrong on our side. Support can look it up by the request id."}`},
		{"no code", Error{}, 500,
			`{"success":false,"error":"internal_error","message":"Something went wrong on our side. Support can look it up by the request id."}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			WriteError(w, tt.err)
			if w.Code != tt.status || w.Code != tt.err.Status() {
				t.Errorf("status is %d, want %d; Status() is %d", w.Code, tt.status, tt.err.Status())
			}
			if got := w.Body.String(); got != tt.body+"\n" {
				t.Errorf("body is\n%s\nwant\n%s", got, tt.body)
			}
		})
	}
}

func TestWriteErrorHeaders(t *testing.T) {
	for _, e := range Catalogue() {
		w := httptest.NewRecorder()
		kept := map[string]string{
			HeaderLimit: "60", HeaderRemaining: "0", HeaderReset: "1800000045",
			HeaderRetryAfter: "17", HeaderRequestID: "req-1", "Vary": "Origin",
		}
		for name, v := range kept {
			w.Header().Set(name, v)
		}
		for _, name := range []string{"Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "ETag", "Last-Modified"} {
			w.Header().Set(name, "of another body")
		}
		WriteError(w, Error{Code: e.Code})

		kept["Cache-Control"] = "no-store"
		kept["Content-Type"] = "application/json"
		kept["Content-Length"] = strconv.Itoa(w.Body.Len())
		kept["Content-Encoding"], kept["ETag"], kept["Last-Modified"] = "", "", ""
		for name, want := range kept {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", e.Code, name, got, want)
			}
		}
	}
}

// Through a real server: the length fits, and HEAD gets the headers alone.
func TestWriteErrorOverHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		WriteError(w, Error{RateLimitExceeded, "wäit"})
	}))
	defer srv.Close()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		want := int64(len(`{"success":false,"error":"rate_limit_exceeded","message":"wäit"}` + "\n"))
		if resp.StatusCode != 429 || resp.ContentLength != want {
			t.Errorf("%s: status %d, length %d; want 429, %d", method, resp.StatusCode, resp.ContentLength, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	var err error = Error{Code: Forbidden}
	if got, want := err.Error(), "forbidden: This API key is not permitted to do that."; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestParseBodyAcceptsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Error{
			Code:    rapid.SampledFrom(Catalogue()).Draw(t, "entry").Code,
			Message: rapid.String().Filter(utf8.ValidString).Draw(t, "message"),
		}
		w := httptest.NewRecorder()
		WriteError(w, e)
		if got, ok := ParseBody(w.Body.Bytes()); !ok || got != e.Body() {
			t.Fatalf("ParseBody(%s) = %+v, %v; want %+v", w.Body, got, ok, e.Body())
		}
	})
}

var bodies = []struct {
	body string
	ok   bool
}{
	{`{"success":false,"error":"gone","message":"m"}`, true},
	{`{"success":false,"error":"gone","message":""}`, true},
	{" {\n\t\"message\": \"m\", \"error\": \"gone\", \"success\": false }\r\n", true},
	{`{"succes\u0073":false,"error":"g\u006fne","message":"\u00e9"}`, true},

	{``, false},
	{`null`, false},
	{`"gone"`, false},
	{`[{"success":false,"error":"gone","message":"m"}]`, false},
	{`{}`, false},
	{`{"success":true,"error":"gone","message":"m"}`, false},
	{`{"success":null,"error":"gone","message":"m"}`, false},
	{`{"success":0,"error":"gone","message":"m"}`, false},
	{`{"success":"false","error":"gone","message":"m"}`, false},
	{`{"error":"gone","message":"m"}`, false},
	{`{"success":false,"message":"m"}`, false},
	{`{"success":false,"error":"gone"}`, false},
	{`{"success":false,"error":"teapot","message":"m"}`, false},
	{`{"success":false,"error":"","message":"m"}`, false},
	{`{"success":false,"error":"Gone","message":"m"}`, false},
	{`{"success":false,"error":null,"message":"m"}`, false},
	{`{"success":false,"error":{"code":"gone"},"message":"m"}`, false},
	{`{"success":false,"error":"gone","message":null}`, false},
	{`{"success":false,"error":"gone","message":7}`, false},
	{`{"success":false,"error":"gone","message":["m"]}`, false},
	{`{"success":false,"error":"gone","message":"m","trace":"main.go:12"}`, false},
	{`{"success":false,"error":"gone","message":"m","message":"n"}`, false},
	{`{"success":false,"error":"gone","message":null,"message":"n"}`, false},
	{`{"success":true,"success":false,"error":"gone","message":"m"}`, false},
	{`{"Success":false,"error":"gone","message":"m"}`, false},
	{`{"success":false,"error":"gone","message":"m","Message":"n"}`, false},
	{`{"success":false,"error":"gone","message":"m"}{}`, false},
	{`{"success":false,"error":"gone","message":"m"} x`, false},
	{`{"success":false,"error":"gone","message":"m",}`, false},
	{`{"success":false,"error":"gone","message":"m"`, false},
	{`{"success":false "error":"gone","message":"m"}`, false},
	{"{\"success\":false,\"error\":\"gone\",\"message\":\"\xff\"}", false},
	{"\xef\xbb\xbf" + `{"success":false,"error":"gone","message":"m"}`, false},
	{`<html>502 Bad Gateway</html>`, false},
}

func TestParseBody(t *testing.T) {
	for _, tt := range bodies {
		got, ok := ParseBody([]byte(tt.body))
		if ok != tt.ok {
			t.Errorf("ParseBody(%s) = %v, want %v", tt.body, ok, tt.ok)
		}
		if ok && got.Error != Gone || !ok && got != (Body{}) {
			t.Errorf("ParseBody(%s) = %+v", tt.body, got)
		}
	}
}

// FuzzParseBody compares with a plain Unmarshal into a map, which is blind to
// duplicate members and to invalid UTF-8 and otherwise agrees.
func FuzzParseBody(f *testing.F) {
	for _, tt := range bodies {
		f.Add([]byte(tt.body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := ParseBody(b)
		naive, naiveOK := parseBodyNaively(b)
		if ok && (!naiveOK || got != naive) {
			t.Fatalf("ParseBody(%q) = %+v, the naive parser says %+v, %v", b, got, naive, naiveOK)
		}
		if !naiveOK {
			return
		}
		again, err := json.Marshal(naive)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ParseBody(again); !ok || got != naive {
			t.Fatalf("ParseBody(%q) = %+v, %v; want %+v", again, got, ok, naive)
		}
	})
}

func parseBodyNaively(b []byte) (Body, bool) {
	var m map[string]any
	if json.Unmarshal(b, &m) != nil || len(m) != 3 {
		return Body{}, false
	}
	success, ok1 := m["success"].(bool)
	code, ok2 := m["error"].(string)
	message, ok3 := m["message"].(string)
	_, known := Lookup(Code(code))
	return Body{Error: Code(code), Message: message}, ok1 && ok2 && ok3 && known && !success
}
