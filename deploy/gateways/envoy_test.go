//go:build gateways

package gateways_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3" // types of the file
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/encoding/protojson"
)

// The commented alternatives are parsed too.
func TestEnvoyConfigurationParses(t *testing.T) {
	b, err := os.ReadFile("envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plain := string(b)
	all := strings.NewReplacer("# In place of ext_authz:\n", "\n", "# - name", "- name", "#   typed_config", "  typed_config",
		"#     ", "      ", "# A route may set tier and cost, which no client can:\n", "\n", "# typed_per_filter_config", "typed_per_filter_config",
		"#   envoy.filters.http.ext_authz", "  envoy.filters.http.ext_authz").Replace(plain)
	if all == plain || strings.Contains(all, "#     ") {
		t.Fatal("the alternatives are not where they were")
	}
	for name, text := range map[string]string{"as it is": plain, "with the alternatives": all} {
		var tree any
		if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		j, err := json.Marshal(tree)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bootstrap := new(bootstrapv3.Bootstrap)
		if err := protojson.Unmarshal(j, bootstrap); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := bootstrap.ValidateAll(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The client that envoyproxy/ratelimit comes with is answered as by its own server.
func TestReferenceClient(t *testing.T) {
	program := filepath.Join(t.TempDir(), "client_cmd")
	build := exec.Command("go", "build", "-C", "../../bench/peers/ratelimit", "-o", program, "github.com/envoyproxy/ratelimit/src/client_cmd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	at := startNode(t).Addr()
	for i, want := range []string{"overall_code:OK", "overall_code:OK", "overall_code:OVER_LIMIT"} {
		out, err := exec.Command(program, "-dial_string", at, "-domain", "api", "-descriptors", "api_key="+key).CombinedOutput()
		// protobuf's text has one space or two between fields and after names, at random.
		got := strings.ReplaceAll(string(out), " ", "")
		if err != nil || !strings.Contains(got, strings.ReplaceAll(want, " ", "")) {
			t.Errorf("%d: %v: %s, want %s", i, err, out, want)
		}
	}
}
