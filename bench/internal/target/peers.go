package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/overten/sluice/bench/internal/ask"
	"github.com/overten/sluice/bench/internal/fleet"
)

// startGubernator starts Gubernator, with more room for keys than there are, and what it says of
// itself turned off but for errors. Several nodes find each other by its own gossip, in which a
// node's name is its host's, and who knows another by its IP alone: so each has a host name of its
// own, which takes root, and an address of 127.0.0.0/8.
func startGubernator(ctx context.Context, c Config) (*Target, error) {
	free, err := fleet.FreeAddresses(3 * c.Nodes)
	if err != nil {
		return nil, err
	}
	for i := range free {
		_, port, _ := net.SplitHostPort(free[i])
		free[i] = fmt.Sprintf("127.0.0.%d:%s", i/3+1, port)
	}
	var known []string
	for i := range c.Nodes {
		known = append(known, free[3*i+2])
	}
	cache := max(50_000, 2*c.Keys)
	t := &Target{Settings: fmt.Sprintf("GUBER_CACHE_SIZE=%d, GUBER_LOG_LEVEL=error; all else as it is shipped", cache)}
	for i := range c.Nodes {
		grpc, http, gossip := free[3*i], free[3*i+1], free[3*i+2]
		env := []string{
			"GUBER_GRPC_ADDRESS=" + grpc, "GUBER_HTTP_ADDRESS=" + http, "GUBER_ADVERTISE_ADDRESS=" + grpc,
			"GUBER_CACHE_SIZE=" + strconv.Itoa(cache), "GUBER_LOG_LEVEL=error", "GUBER_INSTANCE_ID=n" + strconv.Itoa(i),
			"GUBER_PEER_DISCOVERY_TYPE=member-list", "GUBER_MEMBERLIST_ADDRESS=" + gossip, "GUBER_MEMBERLIST_BIND_ADDRESS=" + gossip,
			"GUBER_MEMBERLIST_KNOWN_NODES=" + strings.Join(known, ","),
		}
		name := fmt.Sprintf("gubernator-%d", i+1)
		binary, args := c.Tools.Gubernator, []string(nil)
		if c.Nodes > 1 {
			binary, args = "unshare", []string{"--uts", "sh", "-c", `hostname "$0" && exec "$1"`, name, binary}
		}
		if err := t.run(ctx, c, name, grpc, env, binary, args...); err != nil {
			_ = t.Close()
			return nil, err
		}
		t.Addrs = append(t.Addrs, grpc)
	}
	for _, address := range t.Addrs {
		if err := gubernatorsMeet(ctx, address, c.Nodes); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	return t, nil
}

// gubernatorsMeet waits until a node knows all.
func gubernatorsMeet(ctx context.Context, address string, nodes int) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		peers, err := ask.GubernatorPeers(ctx, conn)
		if err == nil && peers == nodes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it knows %d of %d nodes: %w", peers, nodes, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// startRatelimit starts envoyproxy/ratelimit and a Redis for it. It joins what it asks Redis
// at the same time, as its makers advise for load.
func startRatelimit(ctx context.Context, c Config) (*Target, error) {
	t, err := startRedis(ctx, c)
	if err != nil {
		return nil, err
	}
	free, err := fleet.FreeAddresses(3)
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	config := filepath.Join(c.Dir, "runtime", "config")
	limits := fmt.Sprintf("domain: bench\ndescriptors:\n  - key: api_key\n    rate_limit: {unit: minute, requests_per_unit: %d}\n", ask.Limit)
	if err := os.MkdirAll(config, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(config, "bench.yaml"), []byte(limits), 0o600); err != nil {
		return nil, err
	}
	port := func(address string) string { _, p, _ := net.SplitHostPort(address); return p }
	const pipeline = "REDIS_PIPELINE_WINDOW=150us, REDIS_PIPELINE_LIMIT=32"
	env := []string{
		"RUNTIME_ROOT=" + filepath.Join(c.Dir, "runtime"), "RUNTIME_SUBDIRECTORY=", "RUNTIME_WATCH_ROOT=false", "RUNTIME_APPDIRECTORY=config",
		"HOST=127.0.0.1", "GRPC_HOST=127.0.0.1", "DEBUG_HOST=127.0.0.1",
		"GRPC_PORT=" + port(free[0]), "PORT=" + port(free[1]), "DEBUG_PORT=" + port(free[2]),
		"BACKEND_TYPE=redis", "REDIS_SOCKET_TYPE=tcp", "REDIS_URL=" + t.Addrs[0], "USE_STATSD=false", "DISABLE_STATS=true", "LOG_LEVEL=error",
		"REDIS_PIPELINE_WINDOW=150us", "REDIS_PIPELINE_LIMIT=32",
	}
	redis := t.Settings
	t.Addrs, t.Settings = []string{free[0]}, "DISABLE_STATS=true, USE_STATSD=false, LOG_LEVEL=error, "+pipeline+"; "+redis
	if err := t.run(ctx, c, "ratelimit", free[0], env, c.Tools.Ratelimit); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// startRedis starts a Redis that keeps nothing on disk.
func startRedis(ctx context.Context, c Config) (*Target, error) {
	free, err := fleet.FreeAddresses(1)
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(free[0])
	threads := max(1, runtime.NumCPU()/2)
	t := &Target{Addrs: free, Settings: fmt.Sprintf("Redis with --save '' --appendonly no --io-threads %d", threads)}
	if err := t.run(ctx, c, "redis", free[0], nil, c.Tools.Redis, "--bind", host, "--port", port, "--save", "", "--appendonly", "no",
		"--io-threads", strconv.Itoa(threads), "--dir", c.Dir); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}
