package limiter

// Words returns the identity as two words, for those who carry it to another node.
func (id Identity) Words() (hi, lo uint64) { return id.hi, id.lo }

// IdentityOf returns the identity of which Words gave hi and lo.
func IdentityOf(hi, lo uint64) Identity { return Identity{hi, lo} }

// Words returns the hash as two words, for those who carry it to another node.
func (h RunHash) Words() (hi, lo uint64) { return h.hi, h.lo }

// RunHashOf returns the hash of which Words gave hi and lo.
func RunHashOf(hi, lo uint64) RunHash { return RunHash{hi, lo} }
