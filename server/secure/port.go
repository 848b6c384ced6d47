package secure

import (
	"errors"
	"fmt"
	"strings"
)

// A Port says who may come to a port, and how. The zero value lets everybody in, in plain text.
type Port struct {
	Name string // what its flags begin with, as "admin"; for errors and logs

	Cert, Key string   // files in PEM: what the port shows; none: plain text
	CA        string   // file in PEM: who signs the certificates of callers; none: they need none
	Allow     []string // names, DNS or URI, one of which a caller's certificate must have; none: any
	Probed    bool     // callers without a certificate may ask for what tells nothing of others
	TokenFile string   // tokens, one a line, of which a caller may show one in place of a certificate
}

// Encrypted tells whether nobody on the way can read what is said.
func (p Port) Encrypted() bool { return p.Cert != "" }

// Authenticated tells whether callers must prove who they are.
func (p Port) Authenticated() bool { return p.CA != "" || p.TokenFile != "" }

// validate tells what does not go together.
func (p Port) validate() error {
	switch {
	case (p.Cert == "") != (p.Key == ""):
		return errors.New("a certificate and its key go together: one of the two is missing")
	case p.CA != "" && p.Cert == "":
		return errors.New("callers are asked for certificates by a port that has one itself: its certificate and key are missing")
	case len(p.Allow) > 0 && p.CA == "":
		return errors.New("names of callers are those in their certificates: the file of the authority that signs them is missing")
	}
	for _, name := range p.Allow {
		if err := validName(name); err != nil {
			return err
		}
	}
	return nil
}

// validName takes a URI, a DNS name, or one that begins with "*." for any one label.
func validName(name string) error {
	if rest := strings.TrimPrefix(name, "*."); name == "" || strings.ContainsAny(rest, "* \t,") {
		return fmt.Errorf("%q is neither a DNS name, which may begin with *., nor a URI", name)
	}
	return nil
}

// matches tells whether a name in a certificate is one that is allowed.
func matches(allowed, name string) bool {
	if suffix, any := strings.CutPrefix(allowed, "*"); any {
		label, ok := strings.CutSuffix(strings.ToLower(name), strings.ToLower(suffix))
		return ok && label != "" && !strings.Contains(label, ".")
	}
	if strings.Contains(allowed, "://") {
		return allowed == name
	}
	return strings.EqualFold(allowed, name)
}
