// Command alerts records what three nodes that are well tell Prometheus, as a test for promtool:
// no alert may fire on it. It starts them on loopback, gives them some load for a minute, and
// writes the test to its standard output; make alerts-healthy does that.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	nodes  = 3
	every  = 15 * time.Second // as the ServiceMonitor of the chart
	scrape = 5
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: alerts PATH_OF_SLUICE > testdata/healthy.yaml")
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(binary string, to io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	stop, err := startAll(ctx, binary)
	if err != nil {
		return err
	}
	defer stop()
	for i := range nodes {
		if err := awaitReady(ctx, i); err != nil {
			return err
		}
	}
	loaded, unload := context.WithCancel(ctx)
	var load sync.WaitGroup
	load.Go(func() { ask(loaded) })
	defer load.Wait()
	defer unload()

	r := &recording{values: make(map[string][]float64)}
	for n := range scrape {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ctx.Err()
		}
		for i := range nodes {
			page, err := get(ctx, url(i, 7090, "/metrics"))
			if err != nil {
				return err
			}
			if err := r.add(page, fmt.Sprintf("sluice-%d", i), n); err != nil {
				return err
			}
		}
	}
	return r.write(to)
}

func url(node, port int, path string) string {
	return fmt.Sprintf("http://127.0.0.%d:%d%s", 21+node, port, path)
}

// startAll starts the nodes; stop ends them, one after the other.
func startAll(ctx context.Context, binary string) (stop func(), err error) {
	var running []*exec.Cmd
	stop = func() {
		for _, cmd := range running {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	for i := range nodes {
		host := fmt.Sprintf("127.0.0.%d", 21+i)
		cmd := exec.CommandContext(ctx, binary, "serve", "--name", fmt.Sprintf("sluice-%d", i), "--min-members", "2", "--log-level", "error",
			"--join", "127.0.0.21:7946,127.0.0.22:7946,127.0.0.23:7946", "--grpc", host+":7070", "--http", host+":7080",
			"--peer", host+":7071", "--gossip", host+":7946", "--admin", host+":7090")
		cmd.Env, cmd.Stderr = append(os.Environ(), "GOMEMLIMIT=1GiB"), os.Stderr
		if err := cmd.Start(); err != nil {
			stop()
			return nil, err
		}
		running = append(running, cmd)
	}
	return stop, nil
}

func awaitReady(ctx context.Context, node int) error {
	for {
		_, err := get(ctx, url(node, 7090, "/readyz"))
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// ask asks all nodes in turn, twenty times a second, for checks of a hundred keys and for runs.
func ask(ctx context.Context) {
	tick := time.NewTicker(time.Second / 20)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		method, body := "check", fmt.Sprintf(`{"key": "key-%d", "tier": "free"}`, n%100)
		if n%10 == 0 {
			method, body = "acquire", fmt.Sprintf(`{"key": "key-%d", "tier": "pro", "run_id": "run-%d", "ttl_ms": 2000}`, n%100, n)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url(n%nodes, 7080, "/v1/"+method), strings.NewReader(body))
		if err != nil {
			return
		}
		request.Header.Set("Content-Type", "application/json")
		if response, err := http.DefaultClient.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	page, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, bytes.TrimSpace(page))
	}
	return page, err
}

// lines calls for each sample of a page of metrics.
func lines(page []byte, sample func(series, value string) error) error {
	scanner := bufio.NewScanner(bytes.NewReader(page))
	for scanner.Scan() {
		line := scanner.Text()
		if cut := strings.LastIndexByte(line, ' '); cut > 0 && line[0] != '#' {
			if err := sample(line[:cut], line[cut+1:]); err != nil {
				return err
			}
		}
	}
	return scanner.Err()
}
