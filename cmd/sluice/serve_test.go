package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/overten/sluice/server"
)

// A node that joins none starts also where the usual ports are another's, and says so; ports
// that it was told to use it does not leave.
func TestStepsAsideWhereThePortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var f serveFlags
	var log bytes.Buffer
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.add(flags)
	if err := flags.Parse([]string{"--grpc=127.0.0.1:0", "--admin=" + taken.Addr().String(), "--name=a"}); err != nil {
		t.Fatal(err)
	}
	f.peer, f.gossip = taken.Addr().String(), "127.0.0.1:0"
	f.stepAside(flags, slog.New(slog.NewTextHandler(&log, nil)))
	if f.peer != "127.0.0.1:0" || !strings.Contains(log.String(), "--peer") {
		t.Errorf("--peer is %s; logged %s", f.peer, &log)
	}
	if f.admin != taken.Addr().String() {
		t.Errorf("--admin was asked for, and is now %s", f.admin)
	}
	f.admin = "127.0.0.1:0"
	config, err := f.config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	config.Log = slog.New(slog.DiscardHandler)
	node, err := server.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// Of a shutdown that failed the cause is told; that calls were cut off only if it is that. It once
// was said of whatever gossip had to say, in place of it.
func TestShutdownTellsWhatFailed(t *testing.T) {
	of := errors.New("gossip: shutdown: the socket is gone")
	if err := unclean(of); !errors.Is(err, of) || strings.Contains(err.Error(), "cut off") {
		t.Errorf("%v", err)
	}
	late := fmt.Errorf("peer: %w", context.DeadlineExceeded)
	if err := unclean(late); !errors.Is(err, late) || !strings.Contains(err.Error(), "calls were cut off after 40s: peer: ") {
		t.Errorf("%v", err)
	}
}
