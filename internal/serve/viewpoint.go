package serve

import (
	"net/netip"

	"demarc/internal/probe"
	"demarc/internal/reach"
)

// Viewpoint is a vantage point as the computation of reach sees it.
type Viewpoint struct {
	Name     string
	View     reach.View
	Declared []netip.Prefix // every netblock that is declared, also of zones that this one is not
}

// Viewpoints lists the configured vantage points.
func (c *Config) Viewpoints() []Viewpoint {
	out := make([]Viewpoint, len(c.Vantages))
	for i, v := range c.Vantages {
		all, _ := c.blocks(v)
		out[i] = Viewpoint{v.Name, c.view(v), all}
	}
	return out
}

// everywhere is a zone without bounds.
func everywhere() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

// PointOfView is a vantage point that no configuration names: somewhere in a zone, probing from one address.
func PointOfView(name string, zone probe.Zone, source netip.Addr) Viewpoint {
	v := reach.View{Zone: zone, Prefixes: everywhere()}
	if zone == probe.Internet {
		v.Except = reach.NotInternet
	}
	if source.IsValid() {
		v.Scanners = []netip.Addr{source}
	}
	return Viewpoint{Name: name, View: v}
}
