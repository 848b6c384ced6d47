package peer

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

// A goldenFile is a message as testdata has it: what today's nodes send.
type goldenFile struct {
	bytes []byte
	is    proto.Message // empty, of the message's type; nil: it is only an envelope, with letters that are none
}

// deterministic is how golden messages without an encoding of their own are encoded.
func deterministic(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenFiles has each kind of message that nodes send each other.
func goldenFiles(t *testing.T) map[string]goldenFile {
	t.Helper()
	opens := new(Transport)
	opens.Name, opens.Cluster, opens.boot, opens.seen = "n1", 0x3344, 0x1122, map[string]uint64{"n2": 0x5566}
	hello := opens.hello("n2")
	frame, err := appendFrame(nil, goldenFrame())
	if err != nil {
		t.Fatal(err)
	}
	at := ownership.Position{Gen: gen(), Seq: 300}
	copying, err := appendCopying(nil, goldenCopying())
	if err != nil {
		t.Fatal(err)
	}
	closed, err := appendCopying(nil, &ownership.Copying{Snapshots: []ownership.Snapshot{{Partition: 3, At: at, State: []byte("st"), Closed: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	patient, err := appendCopying(nil, &ownership.Copying{Acks: []ownership.Ack{{Partition: 3, At: at}}, Patient: true})
	if err != nil {
		t.Fatal(err)
	}
	letters := post{hello: goldenHello, letters: [][]byte{copying}, part: []byte("part"), hasPart: true, last: true}
	frames := post{hello: goldenHello, letters: [][]byte{frame}, part: []byte("part"), hasPart: true, last: true}
	envelope := post{hello: goldenHello, letters: [][]byte{[]byte("one"), []byte("two")}, part: []byte("part"), hasPart: true, last: true}
	files := map[string]goldenFile{
		"post":             {envelope.append(nil), nil},
		"frame":            {frame, new(peerv1.Frame)},
		"copying":          {copying, new(peerv1.Copying)},
		"copying_closed":   {closed, new(peerv1.Copying)},
		"copying_patient":  {patient, new(peerv1.Copying)},
		"forward_request":  {goldenRequest(), new(peerv1.ForwardRequest)},
		"forward_traced":   {tracedRequest(), new(peerv1.ForwardRequest)},
		"forward_response": {goldenResponse(), new(peerv1.ForwardResponse)},
		"frames_request":   {deterministic(t, &peerv1.FramesRequest{Hello: hello}), new(peerv1.FramesRequest)},
		"frames_response":  {frames.append(nil), new(peerv1.FramesResponse)},
		"copies_request":   {deterministic(t, &peerv1.CopiesRequest{Hello: hello}), new(peerv1.CopiesRequest)},
		"copies_response":  {letters.append(nil), new(peerv1.CopiesResponse)},
	}
	for name, m := range operatorMessages(t) {
		files[name] = goldenFile{deterministic(t, m), m.ProtoReflect().New().Interface()}
	}
	return files
}

// operators answers as a node does that operators ask.
type operators struct{ Handler }

func (operators) Status() NodeStatus {
	return NodeStatus{
		Name: "n1", Boot: 0x1122, Version: "v1", State: Serving, GRPC: "a:1", Peer: "a:2", Admin: "a:3", Uptime: time.Hour, View: 0xabc, Members: 3,
		Policy: "p", Keys: 4, Owned: 5, Held: 6, Waiting: 7, Copies: 8, Uncopied: 9, Unsent: 10, CopyLag: time.Millisecond,
	}
}

func (operators) Inspect(context.Context, limiter.Key, string) (KeyStatus, error) {
	const now = limiter.Instant(time.Hour)
	return KeyStatus{
		Node: "n1", Partition: 9, Generation: "5 of n1", Copies: []string{"n2"}, Permitted: true, Exactness: limiter.Recovering, Found: true,
		State: limiter.KeyState{
			History: []limiter.Entry{{At: now.Add(-time.Second), Units: 3}}, Horizon: time.Minute, Tombstones: 2,
			Leases: []limiter.Lease{{
				Run: limiter.RunHashOf(1, 2), RunID: "r", TaskID: "t", RequestID: "q", Tier: "free", Nonce: 6,
				Acquired: now.Add(-time.Second), Expiry: now.Add(time.Second),
			}},
		},
		Age: now.Sub,
	}, nil
}

func (operators) Leases(context.Context, *limiter.Key, int) ([]LeaseStatus, bool, error) {
	return []LeaseStatus{{Node: "n1", Key: goldenKey, RunID: "r", TaskID: "t", RequestID: "q", Tier: "free", Age: time.Second, Left: time.Minute}}, true, nil
}

func (operators) Reset(context.Context, limiter.Key) (bool, error) { return true, nil }

// operatorMessages are what is asked and answered one by one.
func operatorMessages(t *testing.T) map[string]proto.Message {
	t.Helper()
	s := &service{t: &Transport{Config: Config{Handler: operators{}}}}
	key := keyToProto(goldenKey)
	inspect, leases, reset := &peerv1.InspectRequest{Key: key, Tier: "free"}, &peerv1.LeasesRequest{Key: key, Most: 7}, &peerv1.ResetRequest{Key: key}
	all := map[string]proto.Message{"status_request": new(peerv1.StatusRequest), "inspect_request": inspect, "leases_request": leases, "reset_request": reset}
	answer := func(name string, m proto.Message, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = m
	}
	ctx := t.Context()
	status, err := s.Status(ctx, new(peerv1.StatusRequest))
	answer("status_response", status, err)
	inspected, err := s.Inspect(ctx, inspect)
	answer("inspect_response", inspected, err)
	listed, err := s.Leases(ctx, leases)
	answer("leases_response", listed, err)
	forgot, err := s.Reset(ctx, reset)
	answer("reset_response", forgot, err)
	return all
}

// Versions of the binary talk to each other: bytes that one has sent must keep their meaning. A
// golden file is never written anew; what is added to the protocol gets a file of its own, which
// -update writes.
func TestGoldenMessagesStayAsTheyAre(t *testing.T) {
	for name, golden := range goldenFiles(t) {
		file := filepath.Join("testdata", name+".hex")
		if _, err := os.Stat(file); *update && os.IsNotExist(err) {
			if err := os.WriteFile(file, []byte(hex.Dump(golden.bytes)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(golden.bytes) != string(want) {
			t.Errorf("%s has changed:\n%s", name, hex.Dump(golden.bytes))
		}
	}
}

// What is golden is all that there is: a field, an enum's value or a message that is added to
// peer.proto must be in one of the files.
func TestGoldenMessagesHaveEverything(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	for name, golden := range goldenFiles(t) {
		if golden.is == nil {
			continue
		}
		m := proto.Clone(golden.is)
		if err := proto.Unmarshal(golden.bytes, m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		visit(m.ProtoReflect(), seen)
	}
	var missing []string
	note := func(d protoreflect.Descriptor) {
		if !seen[d.FullName()] {
			missing = append(missing, string(d.FullName()))
		}
	}
	all := peerv1.File_sluice_peer_v1_peer_proto
	for i := range all.Messages().Len() {
		m := all.Messages().Get(i)
		note(m)
		for j := range m.Fields().Len() {
			note(m.Fields().Get(j))
		}
	}
	for i := range all.Enums().Len() {
		values := all.Enums().Get(i).Values()
		for j := range values.Len() {
			if values.Get(j).Number() != 0 {
				note(values.Get(j))
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("no golden message has %s", strings.Join(missing, ", "))
	}
}

// visit notes what a message is made of.
func visit(m protoreflect.Message, seen map[protoreflect.FullName]bool) {
	seen[m.Descriptor().FullName()] = true
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		seen[f.FullName()] = true
		each := []protoreflect.Value{v}
		if f.IsList() {
			each = nil
			for i := range v.List().Len() {
				each = append(each, v.List().Get(i))
			}
		}
		for _, v := range each {
			switch f.Kind() {
			case protoreflect.MessageKind:
				visit(v.Message(), seen)
			case protoreflect.EnumKind:
				if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
					seen[d.FullName()] = true
				}
			}
		}
		return true
	})
}

// What is golden is read as it was meant, also by those that read by hand.
func TestGoldenMessagesAreUnderstood(t *testing.T) {
	read := func(name string) []byte {
		dump, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
		if err != nil {
			t.Fatal(err)
		}
		return undump(t, string(dump))
	}
	if f, err := decodeFrame(read("frame")); err != nil || !reflect.DeepEqual(f, goldenFrame()) {
		t.Errorf("frame: %+v, %v", f, err)
	}
	if c, err := decodeCopying(read("copying")); err != nil || !reflect.DeepEqual(c, goldenCopying()) {
		t.Errorf("copying: %+v, %v", c, err)
	}
	if c, err := decodeCopying(read("copying_closed")); err != nil || c.Snapshots[0].Closed != time.Minute {
		t.Errorf("copying_closed: %+v, %v", c, err)
	}
	q := new(questions)
	if err := q.parseWire(read("forward_traced")); err != nil || !slices.EqualFunc(q.calls, traced(), func(a asked, b Call) bool { return reflect.DeepEqual(a.Call, b) }) {
		t.Errorf("forward_traced: %+v, %v", q, err)
	}
	for _, name := range []string{"frames_response", "copies_response"} {
		p := new(post)
		if err := p.parseWire(read(name)); err != nil || !proto.Equal(p.hello, goldenHello) || len(p.letters) != 1 || string(p.part) != "part" || !p.last {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
