package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"demarc/internal/fault"
)

// Netblock is an address range the cloud holds. Who holds it answers for it; it is probed from the vantage points that are named,
// else from all of the zones it is visible from, at least once in an interval.
type Netblock struct {
	CIDR      netip.Prefix `yaml:"cidr"`
	Holder    string       `yaml:"holder"`    // provider, or whom the range was given to
	Zones     []string     `yaml:"zones"`     // where it is visible from; empty: everywhere
	Vantages  []string     `yaml:"vantages"`  // names of vantage points; empty: all of the zones
	Every     Duration     `yaml:"every"`     // the longest time between two looks; empty: as the policy's sweep_every
	Aggregate bool         `yaml:"aggregate"` // subnets are made from it piece by piece: a part that is not in the cloud is no difference
}

// The zones a netblock can be visible from.
var Zones = []string{"internet", "institution"}

// The bounds of a netblock's interval. The longest is that of PCI DSS 11.3.2, external scans at least once in three months.
const (
	leastEvery = Duration(time.Minute)
	mostEvery  = Duration(90 * 24 * time.Hour)
)

// CheckNetblocks gives what is wrong with a list of netblocks, the index of the one it is about, and the key of it; index is -1 when
// nothing is. Two holders can not hold one address; one holder may declare a part of a range again, in another way.
func CheckNetblocks(blocks []Netblock) (index int, key string, f *fault.Fault) {
	for i, b := range blocks {
		if key, f := b.check(); f != nil {
			return i, key, f
		}
		for _, o := range blocks[:i] {
			switch {
			case o.CIDR == b.CIDR:
				return i, "cidr", fault.New(fault.Config, "the netblock %s is declared twice", b.CIDR).Hinted("leave one of them out")
			case o.CIDR.Overlaps(b.CIDR) && o.Holder != b.Holder:
				return i, "holder", fault.New(fault.Config, "the netblock %s of %s overlaps %s of %s", b.CIDR, b.Holder, o.CIDR, o.Holder).Hinted("an address has one holder")
			}
		}
	}
	return -1, "", nil
}

func (b Netblock) check() (key string, f *fault.Fault) {
	switch {
	case !b.CIDR.IsValid():
		return "cidr", fault.New(fault.Config, "the netblock has no cidr").Hinted("write cidr: 192.0.2.0/24")
	case b.CIDR != b.CIDR.Masked():
		return "cidr", fault.New(fault.Config, "the netblock %s has bits beyond its length", b.CIDR).Hinted("write %s", b.CIDR.Masked())
	case b.CIDR.Bits() == 0 || b.CIDR.Addr().Is4In6():
		return "cidr", fault.New(fault.Config, "%s can not be a netblock", b.CIDR).Hinted("name what is yours")
	case len(b.Holder) > 64 || strings.TrimSpace(b.Holder) != b.Holder || strings.ContainsFunc(b.Holder, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "holder", fault.New(fault.Config, "%q can not be a holder", b.Holder).Hinted("a short name: provider, physics")
	case b.Every != 0 && (b.Every < leastEvery || b.Every > mostEvery):
		return "every", fault.New(fault.Config, "every can not be %s", b.Every).Hinted("from %s to %s", leastEvery, mostEvery)
	}
	for j, z := range b.Zones {
		if !slices.Contains(Zones, z) {
			return fmt.Sprintf("zones[%d]", j), fault.New(fault.Config, "unknown zone %q", z).Hinted("one of %s", strings.Join(Zones, ", "))
		}
	}
	return "", nil
}

// Visible tells whether a netblock can be seen from a zone.
func (b Netblock) Visible(zone string) bool {
	return len(b.Zones) == 0 || slices.Contains(b.Zones, zone)
}

// SweepEvery is the longest time between two sweeps from a vantage point: the policy's, or the shortest of the netblocks that it probes.
func (p *Policy) SweepEvery(blocks []Netblock, vantage, zone string) Duration {
	out := p.Sweep
	for _, b := range blocks {
		if b.Every > 0 && b.From(vantage, zone) {
			out = min(out, b.Every)
		}
	}
	return out
}

// From tells whether a netblock is probed from a vantage point.
func (b Netblock) From(vantage, zone string) bool {
	return b.Visible(zone) && (len(b.Vantages) == 0 || slices.Contains(b.Vantages, vantage))
}
