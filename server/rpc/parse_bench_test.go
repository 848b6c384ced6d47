package rpc

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// BenchmarkParseBatch parses a call of 1,000 checks, for which there is no memory from one before.
func BenchmarkParseBatch(b *testing.B) {
	var request []byte
	for i := range 1000 {
		item := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), fmt.Sprintf("sk_live_%024x", i))
		item = protowire.AppendString(protowire.AppendTag(item, 2, protowire.BytesType), "enterprise")
		request = protowire.AppendBytes(protowire.AppendTag(request, 1, protowire.BytesType), item)
	}
	b.ReportAllocs()
	for b.Loop() {
		in := new(batchRequest)
		in.receive(mem.SliceBuffer(request))
		if in.err != nil || len(in.checks) != 1000 {
			b.Fatal(in.err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/check")
}
