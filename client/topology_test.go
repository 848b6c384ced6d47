package client

import (
	"testing"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/overten/sluice/proto/sluice/v1"
)

// The vector is that of SipHash's authors: partitions must be those of the nodes.
func TestPartitionIsSipHash(t *testing.T) {
	key, message := make([]byte, 16), make([]byte, 15)
	for i := range key {
		key[i] = byte(i)
	}
	for i := range message {
		message[i] = byte(i)
	}
	k0, k1, err := readTopology(&sluicev1.WatchResponse{Nodes: []*sluicev1.Node{{Name: "a", Address: "a:1"}}, RoutingKey: key})
	if err != nil {
		t.Fatal(err)
	}
	const hash uint64 = 0xa129ca6149be45e5
	top := &topology{k0: k0, k1: k1, holders: make([]*node, 4093)}
	if got := top.partition(string(message)); got != int(hash%4093) {
		t.Errorf("partition %d, want %d", got, hash%4093)
	}
	if got := (&topology{}).partition("k"); got != anywhere {
		t.Errorf("without partitions: %d", got)
	}
}

// A topology that is accepted can be followed, whatever it says.
func FuzzTopology(f *testing.F) {
	good, err := proto.Marshal(&sluicev1.WatchResponse{
		ViewId: 1, RoutingKey: make([]byte, 16), Holders: []uint32{0, 1, 2},
		Nodes: []*sluicev1.Node{{Name: "a", Address: "127.0.0.1:1"}, {Name: "b", Address: "127.0.0.1:1", Draining: true}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		var res sluicev1.WatchResponse
		if proto.Unmarshal(data, &res) != nil {
			return
		}
		if _, _, err := readTopology(&res); err != nil {
			return
		}
		for _, place := range res.GetHolders() {
			if place > 0 {
				_ = res.GetNodes()[place-1].GetAddress()
			}
		}
	})
}
