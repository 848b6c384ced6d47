package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/overten/sluice/client"
	"github.com/overten/sluice/limiter/policy"
)

// maxFileSize is the largest configuration file, in bytes.
const maxFileSize = 1 << 20

// LoadConfig reads a configuration file. What the file does not say is as in
// [DefaultConfig]. The path of a policy is taken from the file's own folder.
//
// It is strict: an unknown field, a field given twice, a value of another type
// or out of range, and a route that could not work are errors. The error has one
// line for each problem, with the path and, where there is one, the line.
func LoadConfig(path string) (Config, error) {
	data, err := readFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c, problems := parseConfig(data, func(name string) (*policy.Policy, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		return policy.Load(name)
	})
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s: %v", path, p))
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

// readFile reads at most one byte more than parseConfig takes, whatever path is.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// parseConfig reads a configuration, and the policy that it names with open. It
// returns the problems in the order of their lines; if there are any, the Config
// is of no use.
func parseConfig(data []byte, open func(string) (*policy.Policy, error)) (Config, []problem) {
	d := decoder{lines: map[string]int{}}
	c := DefaultConfig()
	if root := d.document(data); root != nil {
		d.config(&c, root, open)
	}
	if len(d.problems) == 0 {
		for _, p := range c.problems() {
			p.line = d.line(p.field)
			d.problems = append(d.problems, p)
		}
	}
	slices.SortStableFunc(d.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	return c, d.problems
}

// config reads the whole file into c, which has the defaults.
func (d *decoder) config(c *Config, root *yaml.Node, open func(string) (*policy.Policy, error)) {
	f := d.fields(root, "", "limiter", "fail", "timeout", "policy", "anonymous", "trusted_proxies", "sync_ceiling", "routes")
	d.text(f, "limiter", &c.Limiter)
	d.failPolicy(f, &c.Fail)
	d.duration(f, "timeout", &c.Timeout)
	d.duration(f, "sync_ceiling", &c.SyncCeiling)
	var file string
	if d.text(f, "policy", &file) {
		if p, err := open(file); err != nil {
			d.report("policy", "%v", err)
		} else {
			c.Policy = p
		}
	}
	if n := f["anonymous"]; n != nil {
		d.text(d.fields(n, "anonymous", "tier"), "anonymous.tier", &c.Anonymous.Tier)
	}
	for i, n := range d.items(f["trusted_proxies"], "trusted_proxies") {
		at := index("trusted_proxies", i)
		c.TrustedProxies = append(c.TrustedProxies, d.network(n, at))
	}
	for i, n := range d.items(f["routes"], "routes") {
		c.Routes = append(c.Routes, d.route(n, index("routes", i)))
	}
}

func (d *decoder) route(n *yaml.Node, at string) Route {
	var r Route
	f := d.fields(n, at, "pattern", "run", "tiers", "public")
	if f != nil && f[at+".pattern"] == nil {
		d.report(at, "pattern is required")
	}
	d.text(f, at+".pattern", &r.Pattern)
	d.boolean(f, at+".run", &r.Run)
	d.boolean(f, at+".public", &r.Public)
	if tiers := f[at+".tiers"]; tiers != nil {
		items := d.items(tiers, at+".tiers")
		if tiers.Kind == yaml.SequenceNode && len(items) == 0 {
			d.report(at+".tiers", "must name at least one tier; leave it away to allow all")
		}
		for i, item := range items {
			var name string
			one := index(at+".tiers", i)
			d.text(map[string]*yaml.Node{one: item}, one, &name)
			r.Tiers = append(r.Tiers, name)
		}
	}
	return r
}

func (d *decoder) failPolicy(f map[string]*yaml.Node, p *client.Policy) {
	var name string
	if !d.text(f, "fail", &name) {
		return
	}
	switch name {
	case client.FailOpen.String():
		*p = client.FailOpen
	case client.FailClosed.String():
		*p = client.FailClosed
	default:
		d.report("fail", "must be open or closed, is %q", name)
	}
}

func (d *decoder) duration(f map[string]*yaml.Node, at string, to *time.Duration) {
	n := f[at]
	if n == nil {
		return
	}
	v, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.report(at, "must be a duration with its unit, such as 50ms or 300s")
		return
	}
	*to = v
}

// network reads a CIDR, or a single address.
func (d *decoder) network(n *yaml.Node, at string) netip.Prefix {
	var s string
	if !d.text(map[string]*yaml.Node{at: n}, at, &s) {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil && !strings.Contains(s, "/") {
		var a netip.Addr
		if a, err = netip.ParseAddr(s); err == nil {
			p, err = a.Prefix(a.BitLen())
		}
	}
	switch {
	case err != nil:
		d.report(at, "must be a network such as 10.0.0.0/8, or an address; is %q", s)
	case p.Addr().Is4In6():
		d.report(at, "must be written as an IPv4 network, is %q", s)
	}
	return p.Masked()
}
