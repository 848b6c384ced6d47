package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxName is the longest name of a member, in bytes.
const MaxName = 128

// maxMeta is how much metadata a gossip message has room for, in bytes.
const maxMeta = 512

// A Meta is what a member tells of itself to all others.
type Meta struct {
	Name     string // stays the same over restarts; 1 to MaxName bytes of UTF-8
	Boot     uint64 // tells the lives of one name apart: of two, the higher is the newer
	Draining bool   // it is about to leave

	Peer, GRPC, Admin string // host:port where others reach these services
	Gossip            string // IP:port of its gossip; filled in by Members, never sent

	// Members that differ in one of these refuse each other.
	Protocol uint16 // the protocol between nodes
	Ring     uint64 // fingerprint of the ring's configuration
	Keys     uint64 // fingerprint of the identity and routing keys

	Policy uint64 // fingerprint of the policy file; it may differ, and operators see it
}

// The first byte of encoded metadata. Fields are only ever added at the end, where older nodes
// ignore them; anything else would need another byte, and members that do not mix.
const metaFormat = 1

const flagDraining = 1

// encode returns the metadata as it is gossiped. An error names the field.
func (m Meta) encode() ([]byte, error) {
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	var flags byte
	if m.Draining {
		flags |= flagDraining
	}
	b := []byte{metaFormat, flags}
	b = binary.BigEndian.AppendUint16(b, m.Protocol)
	for _, n := range []uint64{m.Boot, m.Ring, m.Keys, m.Policy} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, s := range []string{m.Name, m.Peer, m.GRPC, m.Admin} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("peer, grpc, admin: the addresses and the name are too long: metadata of %d bytes, at most %d fit", len(b), maxMeta)
	}
	return b, nil
}

// decodeMeta reads what encode wrote here or in a newer version.
func decodeMeta(b []byte) (Meta, error) {
	const fixed = 2 + 2 + 4*8
	if len(b) == 0 || b[0] != metaFormat {
		return Meta{}, errors.New("metadata is in a format that this version does not know")
	}
	if len(b) < fixed {
		return Meta{}, errors.New("metadata is cut short")
	}
	m := Meta{
		Draining: b[1]&flagDraining != 0,
		Protocol: binary.BigEndian.Uint16(b[2:]),
		Boot:     binary.BigEndian.Uint64(b[4:]),
		Ring:     binary.BigEndian.Uint64(b[12:]),
		Keys:     binary.BigEndian.Uint64(b[20:]),
		Policy:   binary.BigEndian.Uint64(b[28:]),
	}
	b = b[fixed:]
	for _, s := range []*string{&m.Name, &m.Peer, &m.GRPC, &m.Admin} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return Meta{}, errors.New("metadata is cut short")
		}
		*s = string(b[used : used+int(n)])
		b = b[used+int(n):]
	}
	if err := checkName(m.Name); err != nil {
		return Meta{}, err
	}
	return m, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("name: is missing")
	case len(name) > MaxName:
		return fmt.Errorf("name: has %d bytes, at most %d are allowed", len(name), MaxName)
	case !utf8.ValidString(name):
		return errors.New("name: is not valid UTF-8")
	}
	return nil
}

// incompatible tells why two members cannot form a cluster, with what each has; nil if they can.
func incompatible(ours, theirs Meta) error {
	var differ []string
	if ours.Protocol != theirs.Protocol {
		differ = append(differ, fmt.Sprintf("protocol version (ours %d, theirs %d)", ours.Protocol, theirs.Protocol))
	}
	if ours.Ring != theirs.Ring {
		differ = append(differ, fmt.Sprintf("ring configuration (ours %016x, theirs %016x)", ours.Ring, theirs.Ring))
	}
	if ours.Keys != theirs.Keys {
		differ = append(differ, fmt.Sprintf("key file (fingerprint ours %016x, theirs %016x)", ours.Keys, theirs.Keys))
	}
	if differ == nil {
		return nil
	}
	return errors.New("it differs in " + strings.Join(differ, ", "))
}
