package server

import "github.com/overten/sluice/server/trace"

// openTracer returns what makes the node's spans, nil if nothing is to be traced.
func openTracer(c *Config) (*trace.Tracer, error) {
	if c.Trace == nil {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong
	}
	of := *c.Trace
	of.Log = c.Log
	if c.Cluster != nil {
		of.Node, of.Version = c.Cluster.Name, c.Cluster.Version
	}
	t, err := trace.New(of)
	if err == nil {
		to := of.Endpoint
		if to == "" {
			to = "that of the environment"
		}
		c.Log.Info("calls with a sampled traceparent are traced", "collector", to)
	}
	return t, err
}
