package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/overten/sluice/cluster/peer"
	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

const second = limiter.Instant(time.Second)

// now is when holders in these tests answer, by their own clock.
const now = 100 * second

func age(at limiter.Instant) time.Duration { return now.Sub(at) }

// held is a key with a history of 7 units and two leases.
func held() peer.KeyStatus {
	return peer.KeyStatus{
		Node: "c", Partition: 3, Generation: "5.c.2", Copies: []string{"d", "a"}, Permitted: true, Exactness: limiter.Recovering, Found: true,
		State: limiter.KeyState{
			History: []limiter.Entry{
				{At: now - 10*second, Units: 9}, // no longer counted
				{At: now - 10*second + 1, Units: 1},
				{At: now - 4*second, Units: 2},
				{At: now - second/2, Units: 4},
			},
			Horizon: time.Minute, Tombstones: 1,
			Leases: []limiter.Lease{
				{RunID: "young", TaskID: "t", RequestID: "req-2", Tier: "two", Acquired: now - second, Expiry: now + 29*second + 1},
				{RunID: "old", RequestID: "req-1", Tier: "one", Acquired: now - 50*second, Expiry: now + 1},
			},
		},
		Age: age,
	}
}

func TestInspect(t *testing.T) {
	var tier *limiter.Tier
	c := &fakeCluster{inspect: func(_ limiter.Key, of *limiter.Tier) (peer.KeyStatus, error) {
		tier = of
		return held(), nil
	}}
	r := serve(t, c, tiers(t))
	got, err := r.Inspect(t.Context(), &adminv1.InspectRequest{Key: "sk_live_1"})
	if err != nil {
		t.Fatal(err)
	}
	key := r.hasher.Key("sk_live_1")
	id := key.ID.String()
	want := &adminv1.InspectResponse{
		Identity: id, Found: true, Status: adminv1.KeyStatus_KEY_STATUS_ACTIVE, Tier: "two",
		Placement: &adminv1.Placement{Partition: 3, Holder: "c", Generation: "5.c.2", Copies: []string{"a", "d"}, Permitted: true},
		Exactness: adminv1.Exactness_EXACTNESS_RECOVERING,
		Windows: []*adminv1.Window{
			{Limit: 5, PerMs: 1000, Used: 4, Remaining: 1, ResetAfterMs: 500},
			{Limit: 8, PerMs: 10_000, Used: 7, Remaining: 1, ResetAfterMs: 1},
		},
		History: []*adminv1.Admission{
			{AgeMs: 10_000, Units: 9}, {AgeMs: 9_999, Units: 1}, {AgeMs: 4_000, Units: 2}, {AgeMs: 500, Units: 4},
		},
		HorizonMs: 60_000, Concurrent: 2, Tombstones: 1,
		Leases: []*adminv1.Lease{
			{RunId: "old", RequestId: "req-1", Tier: "one", AgeMs: 50_000, ExpiresInMs: 1, Identity: id, Holder: "c"},
			{RunId: "young", TaskId: "t", RequestId: "req-2", Tier: "two", AgeMs: 1_000, ExpiresInMs: 29_001, Identity: id, Holder: "c"},
		},
	}
	if !proto.Equal(got, want) {
		t.Errorf("told %v,\nwant %v", got, want)
	}
	if len(c.asked) != 1 || c.asked[0] != key || tier == nil || tier.Name() != "two" {
		t.Errorf("asked for %v by tier %v, want %v, two", c.asked, tier, key)
	}
}

// A window whose limit was lowered tells when it really grows; one with nothing in it that
// it never will.
func TestInspectAfterALoweredLimit(t *testing.T) {
	c := &fakeCluster{inspect: func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) {
		return peer.KeyStatus{Age: age, State: limiter.KeyState{History: []limiter.Entry{
			{At: now - 50*second, Units: 2}, {At: now - 40*second, Units: 1}, {At: now - 30*second, Units: 2},
		}}}, nil
	}}
	r := serve(t, c, tiers(t))
	resp, err := r.Inspect(t.Context(), &adminv1.InspectRequest{Key: "k", Tier: "one"}) // 3 a minute
	if err != nil {
		t.Fatal(err)
	}
	// 5 are used: with the first two gone all three are taken still.
	if want := (&adminv1.Window{Limit: 3, PerMs: 60_000, Used: 5, ResetAfterMs: 20_000}); !proto.Equal(resp.GetWindows()[0], want) {
		t.Errorf("%v, want %v", resp.GetWindows()[0], want)
	}
	resp, err = r.Inspect(t.Context(), &adminv1.InspectRequest{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (&adminv1.Window{Limit: 8, PerMs: 10_000, Remaining: 8}); !proto.Equal(resp.GetWindows()[1], want) {
		t.Errorf("%v, want %v", resp.GetWindows()[1], want)
	}
}

// The directory's word on a key is told beside what its windows say.
func TestInspectTellsTheStatus(t *testing.T) {
	c := &fakeCluster{inspect: func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) { return peer.KeyStatus{Age: age}, nil }}
	r := serve(t, c, tiers(t))
	for key, want := range map[string]adminv1.KeyStatus{
		"anyone": adminv1.KeyStatus_KEY_STATUS_ACTIVE, "suspended": adminv1.KeyStatus_KEY_STATUS_SUSPENDED, "revoked": adminv1.KeyStatus_KEY_STATUS_REVOKED,
	} {
		resp, err := r.Inspect(t.Context(), &adminv1.InspectRequest{Key: key})
		if err != nil || resp.GetStatus() != want || len(resp.GetWindows()) == 0 || resp.GetFound() {
			t.Errorf("%s: %v, %v; want %v", key, resp, err, want)
		}
	}
}

// A key that must be known and is not has no tier, but may have a past.
func TestInspectAnUnknownKey(t *testing.T) {
	p, err := policy.Parse([]byte("tiers: {one: {windows: [{limit: 3}]}}\nrequire_known_keys: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeCluster{inspect: func(_ limiter.Key, of *limiter.Tier) (peer.KeyStatus, error) {
		if of != nil {
			t.Errorf("asked by tier %s", of.Name())
		}
		return held(), nil
	}}
	resp, err := serve(t, c, p).Inspect(t.Context(), &adminv1.InspectRequest{Key: "k"})
	if err != nil || resp.GetStatus() != adminv1.KeyStatus_KEY_STATUS_UNKNOWN || resp.GetTier() != "" || len(resp.GetWindows()) != 0 || len(resp.GetHistory()) != 4 {
		t.Errorf("%v, %v", resp, err)
	}
}

// A policy without a default wants the tier named.
func TestInspectWithoutATier(t *testing.T) {
	p, err := policy.Parse([]byte("tiers: {one: {windows: [{limit: 3}]}, two: {windows: [{limit: 4}]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = serve(t, &fakeCluster{}, p).Inspect(t.Context(), &adminv1.InspectRequest{Key: "k"})
	fails(t, err, codes.InvalidArgument, "INVALID_REQUEST", "tier")
}

// What is wrong with a request is said of its field, before anybody is asked.
func TestBadRequests(t *testing.T) {
	c := &fakeCluster{}
	r := serve(t, c, tiers(t))
	long := strings.Repeat("k", limiter.MaxKeyLen+1)
	inspect := func(key, tier string) error {
		_, err := r.Inspect(t.Context(), &adminv1.InspectRequest{Key: key, Tier: tier})
		return err
	}
	list := func(req *adminv1.ListLeasesRequest) error {
		_, err := r.ListLeases(t.Context(), req)
		return err
	}
	reset := func(key string) error {
		_, err := r.Reset(t.Context(), &adminv1.ResetRequest{Key: key})
		return err
	}
	fails(t, inspect("", ""), codes.InvalidArgument, "INVALID_REQUEST", "key")
	fails(t, inspect(long, ""), codes.InvalidArgument, "VALIDATION_ERROR", "key")
	fails(t, inspect("k", "platinum"), codes.InvalidArgument, "INVALID_REQUEST", "tier")
	fails(t, reset(""), codes.InvalidArgument, "INVALID_REQUEST", "key")
	fails(t, list(&adminv1.ListLeasesRequest{Key: proto.String("")}), codes.InvalidArgument, "INVALID_REQUEST", "key")
	fails(t, list(&adminv1.ListLeasesRequest{Limit: 10_001}), codes.InvalidArgument, "VALIDATION_ERROR", "limit")
	if len(c.asked) != 0 {
		t.Errorf("the cluster was asked for %v", c.asked)
	}
}

// What the cluster cannot tell may be asked again, under the caller's request id; no key
// shows anywhere.
func TestClusterDoesNotAnswer(t *testing.T) {
	c := &fakeCluster{
		inspect: func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) {
			return peer.KeyStatus{}, context.DeadlineExceeded
		},
		err: errors.New("nobody holds partition 3"),
	}
	r := serve(t, c, tiers(t))
	const secret = "sk_live_very_secret"
	var header metadata.MD
	_, err := r.Inspect(metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "ticket-7"), &adminv1.InspectRequest{Key: secret}, grpc.Header(&header))
	fails(t, err, codes.Unavailable, "SERVICE_UNAVAILABLE", "")
	if got := header.Get("x-request-id"); len(got) != 1 || got[0] != "ticket-7" || !strings.Contains(r.log.String(), "ticket-7") {
		t.Errorf("request id %v; log:\n%s", got, r.log)
	}
	_, err = r.Reset(t.Context(), &adminv1.ResetRequest{Key: secret})
	fails(t, err, codes.Unavailable, "SERVICE_UNAVAILABLE", "")
	if err == nil || !strings.Contains(err.Error(), "nobody holds") || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	_, err = r.ListLeases(t.Context(), &adminv1.ListLeasesRequest{Key: proto.String(secret)})
	fails(t, err, codes.Unavailable, "SERVICE_UNAVAILABLE", "")
	if strings.Contains(r.log.String(), secret) {
		t.Errorf("the log has the key:\n%s", r.log)
	}
}

func TestReset(t *testing.T) {
	for _, found := range []bool{true, false} {
		c := &fakeCluster{found: found}
		r := serve(t, c, tiers(t))
		resp, err := r.Reset(t.Context(), &adminv1.ResetRequest{Key: "sk_live_1"})
		if err != nil || resp.GetFound() != found || len(c.asked) != 1 || c.asked[0] != r.hasher.Key("sk_live_1") {
			t.Errorf("%v, %v, asked %v", resp, err, c.asked)
		}
		// Who forgives what is on record, without the key.
		id := r.hasher.Key("sk_live_1").ID.String()
		if log := r.log.String(); !strings.Contains(log, id) || strings.Contains(log, "sk_live_1") {
			t.Errorf("log:\n%s", log)
		}
	}
}

func TestListLeases(t *testing.T) {
	c := &fakeCluster{leases: []peer.LeaseStatus{
		{Node: "a", RunID: "new", Age: time.Second, Left: time.Second},
		{Node: "b", RunID: "old", TaskID: "t", RequestID: "q", Tier: "one", Age: time.Hour, Left: 1},
		{Node: "c", RunID: "third"},
	}}
	r := serve(t, c, tiers(t))
	c.leases[0].Key = r.hasher.Key("k")
	got, err := r.ListLeases(t.Context(), &adminv1.ListLeasesRequest{Limit: 2})
	none := limiter.Identity{}.String()
	want := &adminv1.ListLeasesResponse{More: true, Leases: []*adminv1.Lease{
		{RunId: "old", TaskId: "t", RequestId: "q", Tier: "one", AgeMs: 3_600_000, ExpiresInMs: 1, Identity: none, Holder: "b"},
		{RunId: "new", AgeMs: 1000, ExpiresInMs: 1000, Identity: r.hasher.Key("k").ID.String(), Holder: "a"},
	}}
	if err != nil || !proto.Equal(got, want) || len(c.asked) != 0 {
		t.Errorf("told %v, %v (asked %v),\nwant %v", got, err, c.asked, want)
	}
	got, err = r.ListLeases(t.Context(), &adminv1.ListLeasesRequest{Key: proto.String("k")})
	if err != nil || got.GetMore() || len(got.GetLeases()) != 3 || c.most != 1000 || len(c.asked) != 1 || c.asked[0] != r.hasher.Key("k") {
		t.Errorf("%v, %v; asked for %v, at most %d", got, err, c.asked, c.most)
	}
}

// Where the holder tells only the newest of a history, that is said.
func TestInspectALongHistory(t *testing.T) {
	for entries, want := range map[int]bool{limiter.MaxInspected - 1: false, limiter.MaxInspected: true} {
		history := make([]limiter.Entry, entries)
		for i := range history {
			history[i] = limiter.Entry{At: now - limiter.Instant(entries-i), Units: 1}
		}
		c := &fakeCluster{inspect: func(limiter.Key, *limiter.Tier) (peer.KeyStatus, error) {
			return peer.KeyStatus{Age: age, State: limiter.KeyState{History: history}}, nil
		}}
		resp, err := serve(t, c, tiers(t)).Inspect(t.Context(), &adminv1.InspectRequest{Key: "k"})
		if err != nil || resp.GetHistoryTruncated() != want || len(resp.GetHistory()) != entries || resp.GetWindows()[0].GetUsed() != uint64(entries) {
			t.Errorf("%d entries: truncated %v, %v", entries, resp.GetHistoryTruncated(), err)
		}
	}
}
