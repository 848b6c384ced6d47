package peer

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
)

const childEnv = "SLUICE_TEST_PEER_CHILD"

// beChild makes this process a node that a test kills, if the environment says so: it sends
// what it can to node "a" at the address that it is given, and prints how much it sent.
func beChild() bool {
	at := os.Getenv(childEnv)
	if at == "" {
		return false
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	t := New(Config{
		Name: "child", Listener: l, Cluster: 7, Handler: new(member), Clock: now, Log: slog.New(slog.DiscardHandler),
	})
	t.SetBoot(5)
	t.SetPeers([]Address{{"a", at}})
	fmt.Println(l.Addr())
	for {
		n := t.node("a")
		if s := n.session(copyLane); s != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for seq := uint64(1); ; seq++ {
		t.Send("a", &ownership.Letters{Copying: &ownership.Copying{Deltas: []ownership.Delta{
			{Partition: 1, Number: seq, Changes: limiter.Changes{Bytes: make([]byte, 1000)}},
		}}})
		fmt.Println(seq)
		time.Sleep(100 * time.Microsecond)
	}
}

// startChild starts such a process, and returns what it prints after its address.
func startChild(t *testing.T, at string) (cmd *exec.Cmd, addr string, printed *bufio.Scanner) {
	t.Helper()
	cmd = exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+at)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	printed = bufio.NewScanner(out)
	if !printed.Scan() {
		t.Fatal("the child printed nothing")
	}
	return cmd, strings.TrimSpace(printed.Text()), printed
}
