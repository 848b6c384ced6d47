package admin

import (
	"errors"

	"github.com/overten/sluice/limiter"
	"github.com/overten/sluice/limiter/policy"
	adminv1 "github.com/overten/sluice/proto/sluice/admin/v1"
)

// keyOf checks the field key and hashes it.
func (s *service) keyOf(raw string) (limiter.Key, error) {
	if raw == "" {
		return limiter.Key{}, invalid("key", "is required")
	}
	if len(raw) > limiter.MaxKeyLen {
		return limiter.Key{}, outOfRange("key", "has %d bytes, must have 1 to %d", len(raw), limiter.MaxKeyLen)
	}
	return s.hasher.Key(raw), nil
}

// resolve finds out who the key is by the policy.
func (s *service) resolve(raw, tier string) (policy.Resolution, error) {
	r, err := s.policy.Load().Resolve(raw, tier)
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, policy.ErrNoTier):
		return r, invalid("tier", "is required, as the policy has no default tier")
	}
	return r, invalid("tier", "no such tier")
}

func keyStatus(s policy.Status) adminv1.KeyStatus {
	switch s {
	case policy.Active:
		return adminv1.KeyStatus_KEY_STATUS_ACTIVE
	case policy.Suspended:
		return adminv1.KeyStatus_KEY_STATUS_SUSPENDED
	case policy.Revoked:
		return adminv1.KeyStatus_KEY_STATUS_REVOKED
	}
	return adminv1.KeyStatus_KEY_STATUS_UNKNOWN
}
