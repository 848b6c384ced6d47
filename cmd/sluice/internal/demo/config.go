package demo

import (
	_ "embed" // for the policy
	"fmt"

	"github.com/overten/sluice/cmd/sluice/internal/gateway"
	"github.com/overten/sluice/limiter/policy"
)

// The keys of the demo. They are known to everybody.
const (
	KeyFree       = "sk_live_demo_free"
	KeyPro        = "sk_live_demo_pro"
	KeyEnterprise = "sk_live_demo_enterprise"
	KeySuspended  = "sk_live_demo_suspended"
	KeyRevoked    = "sk_live_demo_revoked"
)

//go:embed policy.yaml
var policyFile []byte

// Policy returns the policy of the demo's node. It knows the keys of the demo and
// the addresses of loopback, and refuses any other key.
func Policy() (*policy.Policy, error) {
	p, err := policy.Parse(policyFile)
	if err != nil {
		return nil, fmt.Errorf("demo: policy.yaml: %w", err)
	}
	return p, nil
}

// GatewayConfig returns the configuration of the demo's gateway, which has the
// node's policy. Its Limiter is the default one, to be replaced by the address of
// the demo's node.
func GatewayConfig() (gateway.Config, error) {
	p, err := Policy()
	if err != nil {
		return gateway.Config{}, err
	}
	c := gateway.DefaultConfig()
	c.Policy = p
	c.Anonymous = gateway.Anonymous{Tier: "anonymous"}
	c.Routes = []gateway.Route{
		{Pattern: "GET /{$}", Public: true},
		{Pattern: "POST /excel/generate", Run: true},
		{Pattern: "POST /templates", Tiers: []string{"enterprise"}},
	}
	return c, nil
}
