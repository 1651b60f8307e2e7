package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// PortRange is a run of ports, both ends in it; in YAML 443 or "8000-8010".
type PortRange struct{ First, Last uint16 }

func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// UnmarshalYAML reads 443 or "8000-8010".
func (r *PortRange) UnmarshalYAML(b []byte) error {
	s := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	first, last, two := strings.Cut(s, "-")
	if !two {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	z, errZ := strconv.ParseUint(last, 10, 16)
	if errA != nil || errZ != nil || a < 1 || z < a {
		return fault.New(fault.Config, "%q is not a run of ports", s).Hinted("write 443 or 8000-8010")
	}
	*r = PortRange{uint16(a), uint16(z)} //nolint:gosec // parsed with 16 bits
	return nil
}

// Allowed is what a profile lets be open, and to whom.
type Allowed struct {
	Proto   string      `yaml:"proto"`   // tcp, udp, icmp
	Ports   []PortRange `yaml:"ports"`   // none for icmp
	From    []string    `yaml:"from"`    // internet: anybody; institution: its networks; or prefixes. Empty: nobody but what limited lets in
	Limited bool        `yaml:"limited"` // and whoever a rule names, where it names a limited range: at most LimitedBits4 or LimitedBits6 wide
}

// A range that is at least so long counts as limited: what one organisation has. The numbers are ours; the seed says "only to a
// limited range of external networks (such as those belonging to the operating institution or group)".
const (
	LimitedBits4 = 16
	LimitedBits6 = 32
)

// Profile is what a kind of machine may have open to the outside.
type Profile struct {
	Title  string    `yaml:"title"`
	Source string    `yaml:"source"` // where the rule comes from
	Allow  []Allowed `yaml:"allow"`
	Listen []uint16  `yaml:"listens"` // a machine without a profile that listens at one of these TCP ports may be of this kind
	Words  []string  `yaml:"words"`   // as may one with a group whose name holds one of these
}

// ProfileOf declares the profile of a machine, or of all machines of a project.
type ProfileOf struct {
	Server  asset.ServerID  `yaml:"server"`
	Project asset.ProjectID `yaml:"project"`
	Profile string          `yaml:"profile"`
}

// The words of Allowed.From that are no prefixes.
const (
	FromInternet    = "internet"
	FromInstitution = "institution"
)

// inherit takes over the profiles of the default policy that a policy does not give itself.
func (p *Policy) inherit(from map[string]Profile) {
	for name, k := range from {
		if _, own := p.Profiles[name]; !own {
			if p.Profiles == nil {
				p.Profiles = map[string]Profile{}
			}
			p.Profiles[name] = k
		}
	}
}

// validateProfiles gives what is wrong with the profiles and their declarations, and the path of it.
func (p *Policy) validateProfiles() (at string, f *fault.Fault) {
	for name, k := range p.Profiles {
		if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }) {
			return "profiles", fault.New(fault.Config, "%q can not be the name of a profile", name).Hinted("small letters, digits and hyphens")
		}
		for i, a := range k.Allow {
			if key, f := a.check(); f != nil {
				return fmt.Sprintf("profiles.%s.allow[%d].%s", name, i, key), f
			}
		}
	}
	for i, d := range p.ProfileOf {
		here := fmt.Sprintf("profile_of[%d]", i)
		if (d.Server == "") == (d.Project == "") {
			return here, fault.New(fault.Config, "a profile is declared for a server or for a project").Hinted("give one of them, by its id")
		}
		if _, ok := p.Profiles[d.Profile]; !ok {
			return here + ".profile", fault.New(fault.Config, "there is no profile %q", d.Profile).Hinted("one of %s", strings.Join(p.ProfileNames(), ", "))
		}
		if slices.ContainsFunc(p.ProfileOf[:i], func(o ProfileOf) bool { return o.Server == d.Server && o.Project == d.Project }) {
			return here, fault.New(fault.Config, "two profiles are declared for %s%s", d.Server, d.Project).Hinted("leave one of them out")
		}
	}
	return "", nil
}

func (a Allowed) check() (key string, f *fault.Fault) {
	switch {
	case !slices.Contains([]string{"tcp", "udp", "icmp"}, a.Proto):
		return "proto", fault.New(fault.Config, "unknown protocol %q", a.Proto).Hinted("one of tcp, udp, icmp")
	case (a.Proto == "icmp") != (len(a.Ports) == 0):
		return "ports", fault.New(fault.Config, "tcp and udp have ports, and icmp has none").Hinted("write ports: [443] or ports: [1-65535]")
	}
	for i, w := range a.From {
		if _, f := FromPrefixes(w, nil); f != nil {
			return fmt.Sprintf("from[%d]", i), f
		}
	}
	return "", nil
}

// FromPrefixes says which addresses a word of Allowed.From stands for, where the institution has some prefixes. A vantage point that
// names none sees everywhere: that is nobody's institution, and counts for none.
func FromPrefixes(word string, institution []netip.Prefix) ([]netip.Prefix, *fault.Fault) {
	switch word {
	case FromInternet:
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}, nil
	case FromInstitution:
		return slices.DeleteFunc(slices.Clone(institution), func(p netip.Prefix) bool { return p.Bits() == 0 }), nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return nil, fault.New(fault.Config, "%q is nobody", word).Hinted("write internet, institution, or a prefix such as 192.0.2.0/24")
	}
	return []netip.Prefix{p}, nil
}

// ProfileNames lists the profiles in order.
func (p *Policy) ProfileNames() []string {
	var out []string
	for name := range p.Profiles {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
