package ask

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Limit is what every key may have in a minute, and Tier is the name of that tier of a node.
const (
	Limit = 600
	Tier  = "enterprise"
)

// Check is sluice.v1's Check, which takes one key. cost 1 is what is asked if nothing is said.
func Check(tier string, cost uint32) Protocol {
	return Protocol{
		Method: "/sluice.v1.RateLimiterService/Check",
		request: func(b []byte, keys []string) []byte {
			return checkRequest(b, keys[0], tier, cost)
		},
		denied: func(b []byte, _ int) (int, error) {
			denied, err := checkResult(b)
			if denied {
				return 1, err
			}
			return 0, err
		},
	}
}

// CheckBatch is sluice.v1's CheckBatch.
func CheckBatch(tier string, cost uint32) Protocol {
	return Protocol{
		Method: "/sluice.v1.RateLimiterService/CheckBatch",
		request: func(b []byte, keys []string) []byte {
			for _, key := range keys {
				n := size(len(key)) + size(len(tier))
				if cost != 1 {
					n += 1 + protowire.SizeVarint(uint64(cost))
				}
				b = checkRequest(head(b, 1, n), key, tier, cost)
			}
			return b
		},
		denied: func(b []byte, n int) (int, error) { return results(b, 1, n, checkResult) },
	}
}

func checkRequest(b []byte, key, tier string, cost uint32) []byte {
	b = text(text(b, 1, key), 2, tier)
	if cost != 1 {
		b = number(b, 3, uint64(cost))
	}
	return b
}

// checkResult reads a CheckResponse or a CheckResult: both have the decision in field 1. A
// decision says first whether it allows.
func checkResult(b []byte) (denied bool, err error) {
	var decision []byte
	if err := each(b, func(at protowire.Number, _ uint64, bytes []byte) {
		if at == 1 {
			decision = bytes
		}
	}); err != nil {
		return false, err
	}
	if len(decision) == 0 {
		return false, errors.New("a check was not decided")
	}
	return decision[0] != 1<<3, nil
}

// Gubernator is GetRateLimits of Gubernator. It has no sliding window: it counts by token bucket.
func Gubernator() Protocol {
	const name = "bench"
	return Protocol{
		Method: "/pb.gubernator.V1/GetRateLimits",
		request: func(b []byte, keys []string) []byte {
			for _, key := range keys {
				n := size(len(name)) + size(len(key)) + 2 + 1 + protowire.SizeVarint(Limit) + 1 + protowire.SizeVarint(60_000)
				b = text(text(head(b, 1, n), 1, name), 2, key)
				b = number(number(number(b, 3, 1), 4, Limit), 5, 60_000)
			}
			return b
		},
		denied: func(b []byte, n int) (int, error) {
			return results(b, 1, n, func(result []byte) (denied bool, err error) {
				read := each(result, func(at protowire.Number, varint uint64, bytes []byte) {
					switch at {
					case 1:
						denied = varint == 1
					case 5:
						err = errors.New("gubernator: " + string(bytes))
					}
				})
				return denied, errors.Join(read, err)
			})
		},
	}
}

// GubernatorPeers returns how many nodes a node of Gubernator knows, itself included.
func GubernatorPeers(ctx context.Context, conn *grpc.ClientConn) (peers int, err error) {
	var answer []byte
	if err := conn.Invoke(ctx, "/pb.gubernator.V1/HealthCheck", []byte{}, &answer, grpc.ForceCodecV2(raw{})); err != nil {
		return 0, err
	}
	err = each(answer, func(at protowire.Number, varint uint64, _ []byte) {
		if at == 3 {
			peers = int(varint)
		}
	})
	return peers, err
}

// Envoy is ShouldRateLimit, as Envoy asks envoyproxy/ratelimit: a descriptor for each key.
func Envoy() Protocol {
	const domain, entry = "bench", "api_key"
	return Protocol{
		Method: "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
		request: func(b []byte, keys []string) []byte {
			b = text(b, 1, domain)
			for _, key := range keys {
				n := size(len(entry)) + size(len(key))
				b = text(text(head(head(b, 2, size(n)), 1, n), 1, entry), 2, key)
			}
			return b
		},
		denied: func(b []byte, n int) (int, error) {
			return results(b, 2, n, func(result []byte) (denied bool, err error) {
				limited := false
				err = each(result, func(at protowire.Number, varint uint64, bytes []byte) {
					switch at {
					case 1:
						denied = varint == 2
					case 2:
						limited = true
					}
				})
				if err == nil && !limited {
					err = errors.New("a descriptor has no limit: its configuration was not read")
				}
				return denied, err
			})
		},
	}
}
