package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/overten/sluice/cluster/ownership"
	"github.com/overten/sluice/limiter"
	peerv1 "github.com/overten/sluice/proto/sluice/peer/v1"
)

var update = flag.Bool("update", false, "write the golden files that are missing")

// settle makes v one that survives the wire as it is: lists are nil if they are empty, and
// enums have one of their values.
func settle(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			settle(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				settle(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.SetZero()
		}
		for i := range v.Len() {
			settle(v.Index(i))
		}
	case reflect.Uint8:
		if v.Type() == reflect.TypeFor[ownership.Why]() {
			v.SetUint(v.Uint()%3 + 1)
		}
	}
}

func TestLettersSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Make[ownership.Frame]().Draw(t, "frame")
		settle(reflect.ValueOf(&f))
		b, err := appendFrame(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > frameBytes(&f) {
			t.Fatalf("%d bytes, expected at most %d", len(b), frameBytes(&f))
		}
		if back, err := decodeFrame(b); err != nil || !reflect.DeepEqual(*back, f) {
			t.Fatalf("%v\n%+v\nbecame\n%+v", err, f, back)
		}
		c := rapid.Make[ownership.Copying]().Draw(t, "copying")
		settle(reflect.ValueOf(&c))
		if b, err = appendCopying(nil, &c); err != nil {
			t.Fatal(err)
		}
		most := itemBytes
		for i := range c.Snapshots {
			most += snapshotBytes(&c.Snapshots[i])
		}
		for i := range c.Deltas {
			most += deltaBytes(&c.Deltas[i])
		}
		for i := range c.Acks {
			most += ackBytes(&c.Acks[i])
		}
		if len(b) > most {
			t.Fatalf("%d bytes, expected at most %d", len(b), most)
		}
		if back, err := decodeCopying(b); err != nil || !reflect.DeepEqual(*back, c) {
			t.Fatalf("%v\n%+v\nbecame\n%+v", err, c, back)
		}
	})
}

func TestAnEmptyStateIsNotNoState(t *testing.T) {
	b, err := appendFrame(nil, &ownership.Frame{Remainders: []ownership.Remainder{{State: []byte{}}, {}}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := decodeFrame(b)
	if err != nil || f.Remainders[0].State == nil || f.Remainders[1].State != nil {
		t.Errorf("%+v, %v", f, err)
	}
}

func gen() ownership.Generation { return ownership.Generation{Number: 5, Name: "n1", Boot: 0x1122} }

// goldenFrame has something of every kind.
func goldenFrame() *ownership.Frame {
	at := ownership.Position{Gen: gen(), Seq: 300}
	other := ownership.Position{Gen: ownership.Generation{Number: 4, Name: "n2", Boot: 0x3344}, Seq: 7}
	return &ownership.Frame{
		Stamp: 123_456_789,
		Heartbeat: &ownership.Heartbeat{View: 0xabcdef, Young: true, Draining: true, Held: []ownership.Held{
			{Partition: 3, Number: 5, Permitted: true}, {Partition: 4, Number: 300}, {Partition: 65535, Number: 1, Permitted: true},
		}},
		Asks:        []ownership.Ask{{Partition: 3, Number: 5, Parent: other, Handed: true, Copy: true}},
		Pledges:     []ownership.Pledge{{Partition: 3, Asked: 99, Number: 5, Given: true, Complete: true, Seq: 300, Known: gen()}},
		Stands:      []ownership.Stand{{Partition: 3, Round: 2, Why: ownership.Promote, At: at, View: 9}, {Why: ownership.Drop}, {Why: ownership.Begin}},
		Votes:       []ownership.Vote{{Partition: 3, Round: 2, Given: true, Known: gen()}},
		Withdrawals: []ownership.Withdrawal{{Partition: 3, Round: 2}},
		Commits:     []ownership.Commit{{Partition: 3, At: at, Copies: []string{"n1", "n3"}, Pledged: 77}},
		Leaves:      []ownership.Leave{{Partition: 3, Number: 5}},
		Lefts:       []ownership.Left{{Partition: 3, Number: 5}},
		Remainders: []ownership.Remainder{
			{Partition: 3, Gen: gen(), First: 2, Last: 3, Changes: []ownership.Stretch{
				{Changes: limiter.Changes{First: 2, Last: 3, Since: 77, Bytes: []byte("ch")}, Mark: other},
			}},
			{Partition: 4, Gen: gen(), Last: 3, Past: []ownership.Position{other}, State: []byte("st")},
		},
		Taken: []ownership.Taken{{Partition: 3, Gen: gen(), First: 2, Last: 3, Whole: true}},
	}
}

func goldenCopying() *ownership.Copying {
	at := ownership.Position{Gen: gen(), Seq: 300}
	return &ownership.Copying{
		Stamp:     123_456_789,
		Snapshots: []ownership.Snapshot{{Partition: 3, At: at, Past: []ownership.Position{at}, State: []byte("st")}},
		Deltas:    []ownership.Delta{{Partition: 3, Number: 5, Changes: limiter.Changes{First: 2, Last: 3, Since: 77, Bytes: []byte("ch")}, Mark: at}},
		Acks:      []ownership.Ack{{Partition: 3, At: at, Gap: true}},
	}
}

var (
	goldenKey  = limiter.Key{Partition: 9, ID: limiter.IdentityOf(0x0102, 0x0304)}
	goldenRef  = limiter.LeaseRef{Key: goldenKey, Tier: 0x55, Run: limiter.RunHashOf(1, 2), Nonce: 6}
	goldenCall = []Call{
		{Kind: Check, Key: goldenKey, Tier: "free", Cost: 0, HasCost: true, Explain: true, Hops: 1},
		{Kind: Acquire, Key: goldenKey, Tier: "free", Cost: 3, HasCost: true, Run: limiter.RunHashOf(1, 2), RunID: "r", TaskID: "t", RequestID: "q", Nonce: 6, TTL: time.Second, Hops: 2},
		{Kind: Acquire, Key: goldenKey, Tier: "pro", Run: limiter.RunHashOf(1, 2), RunID: "r", Nonce: 6, TTL: time.Second, Hops: 2},
		{Kind: Renew, Tier: "pro", TTL: time.Minute, Ref: goldenRef, Hops: 1},
		{Kind: Release, Ref: goldenRef, Hops: 1},
	}
	goldenDecision = limiter.Decision{
		Allowed: true, Reason: limiter.ReasonRateLimited, Exactness: limiter.Exact, Limit: 10, Remaining: 9, Reset: time.Second, RetryAfter: time.Minute,
	}
	goldenAnswers = []struct {
		kind   Kind
		answer Answer
	}{
		{Check, Answer{Decision: goldenDecision, Windows: []limiter.WindowState{
			{Window: limiter.Window{Limit: 10, Per: time.Minute}, Used: 1, Remaining: 9, Reset: time.Second, RetryAfter: time.Hour},
		}}},
		{Acquire, Answer{Grant: limiter.Grant{
			Granted: true, Reason: limiter.ReasonConcurrencyLimited, Exactness: limiter.Recovering, InUse: 2, Limit: 5, Nonce: 6,
			ExpiresIn: time.Minute, FreesIn: time.Second, Decision: goldenDecision,
		}}},
		{Renew, Answer{Left: time.Minute}},
		{Release, Answer{Released: true}},
		{Check, Answer{Undecided: true, Holder: "n2"}},
		{Check, Answer{Unknown: true}},
		{Acquire, Answer{Err: limiter.ErrConflict}},
		{Renew, Answer{Err: limiter.ErrGone}},
		{Check, Answer{Err: errors.New("out of luck")}},
	}
)

func goldenRequest() []byte {
	q := questions{hello: goldenHello, stamp: 123_456_789}
	for i := range goldenCall {
		q.wire = appendCall(q.wire, uint64(i+1), &goldenCall[i], 1500*time.Microsecond)
	}
	return q.encodeWire()
}

func goldenResponse() []byte {
	a := answers{hello: goldenHello}
	for i := range goldenAnswers {
		a.wire = appendAnswer(a.wire, uint64(i+1), goldenAnswers[i].kind, &goldenAnswers[i].answer)
	}
	return a.encodeWire()
}

var goldenHello = &peerv1.Hello{Protocol: 1, Name: "n1", Boot: 0x1122, Cluster: 0x3344, To: "n2", Seen: 0x5566}

// Earlier builds wrote lengths in three bytes, however short: what they sent is read as ever.
func TestEarlierBuildsAreUnderstood(t *testing.T) {
	type parser interface{ parseWire([]byte) error }
	for name, message := range map[string]func() parser{
		"post":             func() parser { return new(post) },
		"forward_request":  func() parser { return new(questions) },
		"forward_response": func() parser { return new(answers) },
	} {
		read := func(file string) parser {
			dump, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			m := message()
			if err := m.parseWire(undump(t, string(dump))); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			return m
		}
		if before, now := read("padded/"+name+".hex"), read(name+".hex"); !reflect.DeepEqual(before, now) {
			t.Errorf("%s was\n%+v\nnow it is\n%+v", name, before, now)
		}
	}
}

// undump is the inverse of hex.Dump.
func undump(t *testing.T, dump string) (b []byte) {
	for line := range strings.Lines(dump) {
		columns, _, _ := strings.Cut(line, "|")
		row, err := hex.DecodeString(strings.Join(strings.Fields(columns)[1:], ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, row...)
	}
	return b
}

// The encoding by hand is the one that peer.proto specifies.
func TestTheProtoFileIsTheSpecification(t *testing.T) {
	req := new(peerv1.ForwardRequest)
	if err := proto.Unmarshal(goldenRequest(), req); err != nil || len(req.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("%v, unknown: %x", err, req.ProtoReflect().GetUnknown())
	}
	for i, c := range req.GetCalls() {
		if len(c.ProtoReflect().GetUnknown()) > 0 || c.GetId() != uint64(i+1) || c.GetRemainingUs() != 1500 {
			t.Errorf("call %d: %v", i, c)
		}
	}
	if !proto.Equal(req.GetHello(), goldenHello) || req.GetStamp() != 123_456_789 || req.GetCalls()[0].Cost == nil || req.GetCalls()[2].Cost != nil {
		t.Errorf("%v", req)
	}
	canonical, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	q := new(questions)
	if err := q.parseWire(canonical); err != nil {
		t.Fatal(err)
	}
	for i, c := range q.calls {
		if !reflect.DeepEqual(c.Call, goldenCall[i]) || c.id != uint64(i+1) || c.remaining != 1500*time.Microsecond {
			t.Errorf("call %d is\n%+v, want\n%+v", i, c, goldenCall[i])
		}
	}

	res := new(peerv1.ForwardResponse)
	if err := proto.Unmarshal(goldenResponse(), res); err != nil || len(res.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("%v, unknown: %x", err, res.ProtoReflect().GetUnknown())
	}
	if canonical, err = proto.Marshal(res); err != nil {
		t.Fatal(err)
	}
	a := new(answers)
	if err := a.parseWire(canonical); err != nil {
		t.Fatal(err)
	}
	for i, got := range a.answers {
		want := goldenAnswers[i].answer
		if !reflect.DeepEqual(got.Answer, want) || got.id != uint64(i+1) {
			t.Errorf("answer %d is\n%+v, want\n%+v", i, got, want)
		}
	}

	p := post{hello: goldenHello, letters: [][]byte{nil, nil}, part: []byte("part"), hasPart: true, last: true}
	want := &peerv1.FramesResponse{Hello: goldenHello, Frames: []*peerv1.Frame{{}, {}}, Part: &peerv1.Part{Data: []byte("part"), Last: true}}
	frames := new(peerv1.FramesResponse)
	if err := proto.Unmarshal(p.append(nil), frames); err != nil || !proto.Equal(frames, want) {
		t.Errorf("%v: %v, want %v", err, frames, want)
	}
	copies := new(peerv1.CopiesResponse)
	if err := proto.Unmarshal(p.append(nil), copies); err != nil || len(copies.GetLetters()) != 2 || !copies.GetPart().GetLast() {
		t.Errorf("%v: %v", err, copies)
	}
	if canonical, err = proto.Marshal(want); err != nil {
		t.Fatal(err)
	}
	back := new(post)
	if err := back.parseWire(canonical); err != nil || !proto.Equal(back.hello, goldenHello) || len(back.letters) != 2 || string(back.part) != "part" || !back.last {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestNumbersOutOfRangeAreRefused(t *testing.T) {
	for name, m := range map[string]proto.Message{
		"frame: partition":                     &peerv1.Frame{Leaves: []*peerv1.Leave{{Partition: 65536}}},
		"frame: life":                          &peerv1.Frame{Votes: []*peerv1.Vote{{Known: &peerv1.Generation{Life: 0}}}},
		"frame: purpose":                       &peerv1.Frame{Stands: []*peerv1.Stand{{Purpose: 257}}},
		"frame: numbers":                       &peerv1.Frame{Heartbeat: &peerv1.Heartbeat{Held: []int32{1}}},
		"frame: waiting":                       &peerv1.Frame{Heartbeat: &peerv1.Heartbeat{Waiting: []uint32{0}}},
		"frame: held":                          &peerv1.Frame{Heartbeat: &peerv1.Heartbeat{Held: []int32{math.MaxInt32}, Numbers: []uint64{1}}},
		"copying: snapshot's partition":        &peerv1.Copying{Snapshots: []*peerv1.Snapshot{{Partition: 65536}}},
		"copying: delta's partition":           &peerv1.Copying{Deltas: []*peerv1.Delta{{Partition: 65536}}},
		"copying: acknowledgement's partition": &peerv1.Copying{Acks: []*peerv1.Ack{{Partition: 65536}}},
		"copying: life":                        &peerv1.Copying{Acks: []*peerv1.Ack{{At: &peerv1.Position{Number: 1}}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		letter, _, _ := strings.Cut(name, " ")
		if _, err = decodeFrame(b); letter == "copying:" {
			_, err = decodeCopying(b)
		}
		if err == nil || !strings.HasPrefix(err.Error(), letter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, m := range map[string]*peerv1.Call{
		"kind": {}, "later kind": {Kind: 9}, "partition": {Kind: 1, Partition: 65536}, "hops": {Kind: 1, Hops: 256}, "ttl": {Kind: 2, TtlNs: math.MaxUint64},
	} {
		b, err := proto.Marshal(&peerv1.ForwardRequest{Calls: []*peerv1.Call{m}})
		if err != nil {
			t.Fatal(err)
		}
		if new(questions).parseWire(b) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A field may come before or after any other, and more than once: the last counts.
func TestFieldsComeInAnyOrder(t *testing.T) {
	changes := appendBytes(appendUint(appendUint(appendUint(nil, 3, 300), 2, 7), 1, 5), 4, []byte("changes"))
	place := appendUint(appendUint(appendUint(nil, 3, 9), 2, 0), 1, 4)
	delta := appendUint(appendBytes(appendBytes(appendUint(appendUint(nil, 2, 400), 1, 8), 4, place), 3, changes), 1, 1000)
	ack := appendUint(appendBytes(appendBool(nil, 3, true), 2, place), 1, 1001)
	life := appendFixed(appendString(nil, 1, "n"), 2, 3)
	b := appendBytes(appendBytes(appendBytes(appendUint(nil, 1, 2), 5, ack), 4, delta), 2, life)
	got, err := decodeCopying(b)
	if err != nil {
		t.Fatal(err)
	}
	at := ownership.Position{Gen: ownership.Generation{Number: 4, Name: "n", Boot: 3}, Seq: 9}
	want := ownership.Delta{Partition: 1000, Number: 400, Mark: at, Changes: limiter.Changes{
		First: 5, Last: 7, Since: 300, Bytes: []byte("changes"),
	}}
	if got.Stamp != 2 || len(got.Deltas) != 1 || !reflect.DeepEqual(got.Deltas[0], want) {
		t.Errorf("%+v, want %+v", got.Deltas, want)
	}
	if len(got.Acks) != 1 || got.Acks[0] != (ownership.Ack{Partition: 1001, At: at, Gap: true}) {
		t.Errorf("%+v", got.Acks)
	}
	for n := range delta { // a number that is cut
		if _, err := decodeCopying(appendBytes(nil, 4, delta[:n])); err == nil && n > 0 && delta[n-1] >= 1<<7 {
			t.Errorf("of a delta %d bytes were taken for one", n)
		}
	}
}

func FuzzCalls(f *testing.F) {
	f.Add(goldenRequest())
	f.Add(tracedRequest())
	f.Add(goldenResponse())
	p := post{hello: goldenHello, letters: [][]byte{[]byte("one")}, part: []byte("part"), hasPart: true}
	f.Add(p.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		original := bytes.Clone(b)
		q := new(questions)
		if err := q.parseWire(b); err == nil {
			var wire []byte
			for i := range q.calls {
				c := &q.calls[i]
				wire = appendCall(wire, c.id, &c.Call, c.remaining)
			}
			again := new(questions)
			if err := again.parseWire(wire); err != nil || len(again.calls) != len(q.calls) {
				t.Fatalf("%v: %+v became %+v", err, q, again)
			}
			agreesOnTraces(t, b, q.calls)
		}
		_ = new(answers).parseWire(b)
		_ = new(post).parseWire(b)
		if !bytes.Equal(b, original) {
			t.Fatal("parsing has changed its input")
		}
	})
}
