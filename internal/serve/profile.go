package serve

import (
	"net/netip"

	"demarc/internal/probe"
)

// Institution lists the addresses of the institution: those that its vantage points name. Where none names any, nobody knows them,
// and a profile that lets the institution in lets nobody in.
func (c *Config) Institution() []netip.Prefix {
	var out []netip.Prefix
	for _, v := range c.Vantages {
		if v.Zone == string(probe.Institution) {
			out = append(out, v.Prefixes...)
		}
	}
	return out
}
