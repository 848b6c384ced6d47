package limiter

// Shadow tells whether the limits of the tier deny nothing: they are decided as ever, and what
// they would have denied is allowed and counted.
func (t *Tier) Shadow() bool { return t.spec.Shadow }

// Shade makes of a decision by a shadow tier what is told: a denial is allowed. It returns why it
// would have been denied, ReasonNone if it would not, or the tier is none. What a denial would
// have taken was not counted, so a history never holds more than the limit.
//
// Who is told that nothing remains is not told when more will: nothing waits for it.
func (t *Tier) Shade(d *Decision) (denied Reason) {
	if !t.spec.Shadow {
		return ReasonNone
	}
	denied = d.Reason
	d.Allowed, d.Reason, d.RetryAfter = true, ReasonNone, 0
	if denied != ReasonNone {
		d.Remaining = 0
	}
	if d.Remaining == 0 {
		d.Reset = 0
	}
	return denied
}

// overlooks tells whether a run is granted though there is a reason against it. Leases take
// memory: one key has MaxConcurrent of them at most.
func (t *Tier) overlooks(r Reason, inUse uint32) bool {
	return r == ReasonNone || t.spec.Shadow && inUse < MaxConcurrent
}
