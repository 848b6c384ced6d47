package server_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// nodeProcess is a node that runs in a process of its own.
type nodeProcess struct {
	addr string
	pid  int
	stop func() error
}

// startNode starts a node with a policy file. Its log goes to log, whole when stop has
// returned.
func startNode(t *testing.T, policyFile string, log io.Writer, env ...string) *nodeProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	// Without collections what was dropped is not used again, so it stays to be found.
	// And without preemption no signal saves registers at a moment that is left to chance.
	cmd.Env = append(os.Environ(), asNode+"="+policyFile, "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &nodeProcess{pid: cmd.Process.Pid, stop: sync.OnceValue(func() error {
		_ = in.Close() // which ends the node
		return cmd.Wait()
	})}
	t.Cleanup(func() { _ = n.stop() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the node did not start: %v", err)
	}
	n.addr = strings.TrimSpace(line)
	return n
}

// A scanner finds pieces of texts in memory: any minPiece consecutive bytes of one.
type scanner struct {
	texts  map[string]string   // by name
	words  map[uint64][]origin // all runs of eight bytes in them
	filter [1 << 13]uint64     // a bit for the hash of each word
}

// origin is where a word is in a text.
type origin struct {
	name string
	at   int
}

const minPiece = 16

func newScanner(texts map[string]string) *scanner {
	s := &scanner{texts: texts, words: make(map[uint64][]origin)}
	for name, text := range texts {
		for i := range len(text) - 7 {
			w := binary.LittleEndian.Uint64([]byte(text[i:]))
			s.words[w] = append(s.words[w], origin{name, i})
			h := hashWord(w)
			s.filter[h/64] |= 1 << (h % 64)
		}
	}
	return s
}

func hashWord(w uint64) uint64 { return (w * 0x9e3779b97f4a7c15) >> 45 }

// process returns the longest piece of each text that is in any memory that the process
// may read, by name, and how many bytes were read.
func (s *scanner) process(t *testing.T, pid int) (pieces map[string]string, size int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	pieces = make(map[string]string)
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var perm string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perm); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if perm[0] != 'r' || strings.Contains(line, "[vvar") { // which only the kernel may read
			continue
		}
		size += s.area(t, io.NewSectionReader(mem, int64(from), int64(to-from)), pieces)
	}
	return pieces, size
}

// area scans one area of memory.
func (s *scanner) area(t *testing.T, r io.Reader, pieces map[string]string) (size int) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(r, buf)
		size += n
		s.scan(buf[:n], pieces)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// scan adds the pieces in b. Any minPiece bytes hold eight that begin at a multiple of
// eight, so only those are looked up.
//
//go:norace
func (s *scanner) scan(b []byte, pieces map[string]string) {
	for i := 0; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if w == 0 {
			continue
		}
		if h := hashWord(w); s.filter[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, o := range s.words[w] {
			if piece := common(s.texts[o.name], o.at, b, i); len(piece) >= minPiece && len(piece) > len(pieces[o.name]) {
				pieces[o.name] = piece
			}
		}
	}
}

// common returns the piece of text that is in b as well, with text[at] at b[i].
func common(text string, at int, b []byte, i int) string {
	from, to := 0, 0
	for at+from > 0 && i+from > 0 && text[at+from-1] == b[i+from-1] {
		from--
	}
	for at+to < len(text) && i+to < len(b) && text[at+to] == b[i+to] {
		to++
	}
	return text[at+from : at+to]
}
