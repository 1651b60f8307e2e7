package reach

import (
	"fmt"
	"net/netip"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/ipset"
)

// via is how an address leads to a port.
type via uint8

const (
	viaFloating via = iota // a floating IP, translated to the port's fixed address
	viaForward             // one forwarding of a floating IP
	viaExternal            // an address on an external network
	viaRouted              // an address behind a router that does not translate
	viaBalancer            // the address of a load balancer
)

// site is one address at which a zone can send to a port.
type site struct {
	addr   netip.Addr // first address of wide, if that is given
	wide   netip.Prefix
	port   *asset.Port // who answers
	vip    *asset.Port // whose address it is, where the answering port has it by an address pair
	pair   bool        // it has it by an address pair
	fip    *asset.FloatingIP
	fwd    *asset.Forwarding
	router *asset.Router
	lb     *asset.LoadBalancer
	via    via
	off    bool  // nothing answers now, and would if machine, port and router were on
	way    doubt // what is in doubt of the way alone: groups and firewalls are left out
	i      int32 // where its state stands in a Set
}

// family is that of the rules that decide.
func (s *site) family() int {
	if s.addr.Is6() {
		return 6
	}
	return 4
}

// finder lists the sites of a cloud.
type finder struct {
	x        *asset.Index
	v        View
	gateways map[asset.SubnetID]*asset.Router // of subnets behind a router with an external gateway, up or not
	bgp      ipset.Set                        // what speakers announce
	outside                                   // what a tenant's own network says of it is not routed there
	subnets  map[asset.NetworkID][]*asset.Subnet
	pairs    map[asset.NetworkID][]*asset.Port
	holders  map[netKey]*asset.Port
	out      []site
}

type netKey struct {
	net  asset.NetworkID
	addr netip.Addr
}

func newFinder(x *asset.Index, v View) *finder {
	f := &finder{x: x, v: v, bgp: announced(x), gateways: gateways(x), outside: outsides(x), subnets: map[asset.NetworkID][]*asset.Subnet{}, pairs: map[asset.NetworkID][]*asset.Port{}, holders: map[netKey]*asset.Port{}}
	for i := range x.Snapshot.Subnets {
		n := &x.Snapshot.Subnets[i]
		f.subnets[n.Network] = append(f.subnets[n.Network], n)
	}
	for i := range x.Snapshot.Ports {
		if p := &x.Snapshot.Ports[i]; len(p.Pairs) > 0 {
			f.pairs[p.Network] = append(f.pairs[p.Network], p)
		}
	}
	if len(f.pairs) > 0 { // only then it matters who holds what a pair names
		for i := range x.Snapshot.Ports {
			p := &x.Snapshot.Ports[i]
			for _, a := range p.FixedIPs {
				if len(f.pairs[p.Network]) > 0 {
					f.holders[netKey{p.Network, a.Addr}] = p
				}
			}
		}
	}
	return f
}

// outside is what of the address space is the provider's: the subnets of external networks, and the addresses of floating IPs.
type outside struct {
	externals []netip.Prefix
	floats    map[netip.Addr]bool
}

func outsides(x *asset.Index) outside {
	o := outside{floats: make(map[netip.Addr]bool, len(x.Snapshot.FloatingIPs))}
	for i := range x.Snapshot.FloatingIPs {
		o.floats[x.Snapshot.FloatingIPs[i].Addr] = true
	}
	for i := range x.Snapshot.Subnets {
		if n := &x.Snapshot.Subnets[i]; x.Networks[n.Network] != nil && x.Networks[n.Network].External {
			o.externals = append(o.externals, n.CIDR)
		}
	}
	return o
}

func (o *outside) overlaps(p netip.Prefix) bool { return overlaps(o.externals, p) }

// Outside tells which addresses are the provider's to route: whatever a tenant's own network holds, they are not reached there.
func Outside(x *asset.Index) func(netip.Addr) bool {
	o := outsides(x)
	return func(a netip.Addr) bool { return o.floats[a] || within(o.externals, a) }
}

// Gateways finds, for each subnet, a router that is up, has an external gateway and a leg in the subnet.
func Gateways(x *asset.Index) map[asset.SubnetID]*asset.Router {
	out := gateways(x)
	for id, r := range out {
		if !r.AdminUp {
			delete(out, id)
		}
	}
	return out
}

func gateways(x *asset.Index) map[asset.SubnetID]*asset.Router {
	out := map[asset.SubnetID]*asset.Router{}
	for i := range x.Snapshot.Ports {
		p := &x.Snapshot.Ports[i]
		if !strings.HasPrefix(p.DeviceOwner, "network:router_interface") && !strings.HasPrefix(p.DeviceOwner, "network:ha_router_replicated_interface") {
			continue
		}
		if r := x.Routers[asset.RouterID(p.Device)]; r != nil && r.External != "" {
			for _, a := range p.FixedIPs {
				if !mayServe(x, r, a.Subnet) {
					continue
				}
				if known := out[a.Subnet]; known == nil || r.AdminUp && !known.AdminUp {
					out[a.Subnet] = r
				}
			}
		}
	}
	return out
}

// mayServe tells whether a router's word counts for a subnet: it is its owner's, or the provider's. On a shared network anybody can plug
// in a router of his own; nothing is routed to the others by that.
func mayServe(x *asset.Index, r *asset.Router, id asset.SubnetID) bool {
	s, outside := x.Subnets[id], x.Networks[r.External]
	return s == nil || r.Project == s.Project || outside != nil && outside.External && r.Project == outside.Project
}

// trusted tells whether a port belongs to the network service itself, so that no group holds there.
// Source: neutron_lib.utils.net.is_port_trusted.
func trusted(p *asset.Port) bool { return strings.HasPrefix(p.DeviceOwner, "network:") }

// find lists every site.
func (f *finder) find() []site {
	f.out = make([]site, 0, len(f.x.Snapshot.FloatingIPs)+len(f.x.Snapshot.Ports)/2)
	for i := range f.x.Snapshot.Ports {
		p := &f.x.Snapshot.Ports[i]
		switch s := f.x.Servers[p.Server]; {
		case s != nil:
			f.machine(p, site{port: p, off: !s.Active() || !p.AdminUp, way: portDoubts(f.x, p)})
		case trusted(p) && p.DeviceOwner != "network:floatingip":
			if n := f.x.Networks[p.Network]; n != nil && n.External {
				f.fixed(p, site{port: p, off: !p.AdminUp, way: doubtTrusted})
			}
		}
	}
	for i := range f.x.Snapshot.LoadBalancers {
		f.balancer(&f.x.Snapshot.LoadBalancers[i])
	}
	return f.out
}

// portDoubts are the reasons for which groups may not say what passes a port.
func portDoubts(x *asset.Index, p *asset.Port) doubt {
	var d doubt
	switch p.VNICType {
	case "", "normal":
	case "baremetal":
		d |= doubtMetal
	default:
		d |= doubtNIC
	}
	if strings.HasPrefix(p.DeviceOwner, "baremetal:") {
		d |= doubtMetal
	}
	if p.AdminUp && p.Status == "DOWN" {
		d |= doubtDown
	}
	if t := x.Parents[p.ID]; len(x.Parents) > 0 && t != nil && t.Port != p.ID {
		d |= doubtTrunk
	}
	return d
}

// machine lists the sites of a machine's port.
func (f *finder) machine(p *asset.Port, s site) {
	if t := f.x.Parents[p.ID]; len(f.x.Parents) > 0 && t != nil && t.Port != p.ID {
		s.off = s.off || !f.x.Ports[t.Port].AdminUp // a trunk that is set down only refuses changes of its subports: they may carry on
	}
	f.floating(p, s)
	f.fixed(p, s)
	for _, a := range p.Pairs {
		f.pair(p, a.Prefix, s)
	}
}

// floating lists the sites of floating IPs that lead to a port.
func (f *finder) floating(p *asset.Port, s site) {
	for _, ip := range f.x.FloatingOf[p.ID] {
		s := s
		s.addr, s.fip, s.router = ip.Addr, ip, f.x.Routers[ip.Router]
		switch {
		case ip.Router == "":
		case s.router == nil:
			s.way |= doubtUnread
		default:
			s.off = s.off || !s.router.AdminUp
		}
		if ip.Port == p.ID {
			s.via = viaFloating
			f.add(s)
		}
		for i := range ip.Forwardings {
			if fwd := &ip.Forwardings[i]; fwd.Port == p.ID {
				s.via, s.fwd = viaForward, fwd
				f.add(s)
			}
		}
	}
}

// fixed lists the sites of a port's own addresses.
func (f *finder) fixed(p *asset.Port, s site) {
	for _, a := range p.FixedIPs {
		f.reached(p, netip.PrefixFrom(a.Addr, a.Addr.BitLen()), a.Subnet, s)
	}
}

// reached adds a site for addresses on a port's network, if the outside can send there: on an external network, or behind a router
// with an external gateway that does not translate.
func (f *finder) reached(p *asset.Port, at netip.Prefix, subnet asset.SubnetID, s site) {
	s.addr = at.Addr()
	if !at.IsSingleIP() {
		s.wide, s.way = at, s.way|doubtSpread
	}
	n := f.x.Networks[p.Network]
	if n != nil && n.External {
		s.via = viaExternal
		f.add(s)
		return
	}
	r := f.gateways[subnet]
	if f.overlaps(at) || f.floats[s.addr] {
		return
	}
	if r == nil || n == nil && f.x.Subnets[subnet] == nil && !s.addr.Is6() {
		return
	}
	routed, doubts := f.routed(s.addr, n, f.x.Networks[r.External])
	if !routed {
		return
	}
	s.via, s.router, s.way, s.off = viaRouted, r, s.way|doubts, s.off || !r.AdminUp
	f.add(s)
}

// routed tells whether a router sends to an address without translating: global IPv6 always, others where the operator declared
// the block, the external network shares the address scope, or a BGP speaker announces it.
func (f *finder) routed(a netip.Addr, inside, outside *asset.Network) (bool, doubt) {
	var d doubt
	if inside != nil && outside != nil && inside.AddressScope(a.Is6()) != outside.AddressScope(a.Is6()) {
		d = doubtScope
	}
	if a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() {
		return true, d
	}
	declared := len(f.v.Blocks) > 0 && within(f.v.Blocks, a)
	return declared || inside.SharesScope(outside, a.Is6()) || f.bgp.Has(a), d | doubtRouted
}

// announced gathers what BGP speakers announce.
func announced(x *asset.Index) ipset.Set {
	var out []netip.Prefix
	for i := range x.Snapshot.Links {
		if l := &x.Snapshot.Links[i]; l.Kind == asset.LinkBGP && l.AdminUp {
			out = append(out, l.Remote...)
		}
	}
	return ipset.Of(out...)
}

// pair lists the sites of what a port may answer for besides its own. Floating IPs of an unbound port lead to whoever may answer for
// its address; another machine's address stays that machine's.
func (f *finder) pair(p *asset.Port, at netip.Prefix, s site) {
	if !at.IsValid() {
		return
	}
	at, s.pair = at.Masked(), true
	if at.IsSingleIP() {
		switch v := f.holders[netKey{p.Network, at.Addr()}]; {
		case v == p:
			return
		case v != nil && (v.Server != "" || trusted(v)):
			return
		case v != nil:
			s.vip = v
			f.floating(v, s)
		}
	}
	for _, n := range f.subnets[p.Network] {
		if !n.CIDR.Overlaps(at) {
			continue
		}
		part := at
		if at.Bits() < n.CIDR.Bits() {
			part = n.CIDR.Masked()
		}
		f.reached(p, part, n.ID, s)
	}
}

// balancer lists the sites of a load balancer: its address, if that is outside, and the floating IPs that lead there.
func (f *finder) balancer(lb *asset.LoadBalancer) {
	s := site{lb: lb, off: !lb.AdminUp, way: doubtBalancer}
	p := f.x.Ports[lb.VIPPort]
	if p == nil {
		s.way |= doubtUnread
		p = &asset.Port{ID: lb.VIPPort, Project: lb.Project, FixedIPs: []asset.FixedIP{{Addr: lb.VIP}}}
	}
	s.port = p
	from := len(f.out)
	f.floating(p, s)
	f.fixed(p, s)
	for i := from; i < len(f.out); i++ {
		if f.out[i].fwd == nil {
			f.out[i].via = viaBalancer
		}
	}
}

// add keeps a site whose address the zone has a route to, as far as the operator declared it.
func (f *finder) add(s site) {
	if !s.addr.IsValid() || len(f.v.Blocks) > 0 && !within(f.v.Blocks, s.addr) && !(s.wide.IsValid() && overlaps(f.v.Blocks, s.wide)) {
		return
	}
	f.out = append(f.out, s)
}

func within(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func overlaps(ps []netip.Prefix, o netip.Prefix) bool {
	for _, p := range ps {
		if p.Overlaps(o) {
			return true
		}
	}
	return false
}

// chain is how an address leads to a port, outermost object first.
func (s *site) chain(x *asset.Index) []string {
	var out []string
	if s.fip != nil {
		out = append(out, fmt.Sprintf("floating IP %s (%s)", s.fip.Addr, s.fip.ID))
	}
	switch {
	case s.fwd != nil:
		out = append(out, "forwarding "+forwarded(s.fwd))
	case s.lb != nil:
		out = append(out, fmt.Sprintf("load balancer %s (%s)", s.lb.Name, s.lb.ID))
	case s.via == viaExternal:
		out = append(out, fmt.Sprintf("address on external network %s", x.Networks[s.port.Network].Name))
	case s.via == viaRouted && s.addr.Is6():
		out = append(out, fmt.Sprintf("routed IPv6 behind router %s", s.router.Name))
	case s.via == viaRouted:
		out = append(out, fmt.Sprintf("routed without translation by router %s", s.router.Name))
	}
	if s.vip != nil {
		out = append(out, fmt.Sprintf("port %s, which no machine has", s.vip.ID))
	}
	if s.pair {
		out = append(out, fmt.Sprintf("address pair of port %s", s.port.ID))
	} else {
		out = append(out, fmt.Sprintf("port %s", s.port.ID))
	}
	if t := x.Parents[s.port.ID]; t != nil && t.Port != s.port.ID {
		down := ""
		if !t.AdminUp {
			down = ", which is set down,"
		}
		out = append(out, fmt.Sprintf("trunk %s%s on port %s", t.ID, down, t.Port))
	}
	return append(out, s.closed(x)...)
}

// closed names what keeps a path shut for the time being.
func (s *site) closed(x *asset.Index) []string {
	var out []string
	if v := x.Servers[s.port.Server]; v != nil && !v.Active() {
		out = append(out, "server is "+v.Status)
	}
	if !s.port.AdminUp && s.lb == nil {
		out = append(out, "port is set down")
	}
	if s.router != nil && !s.router.AdminUp {
		out = append(out, fmt.Sprintf("router %s is set down", s.router.Name))
	}
	if s.lb != nil && !s.lb.AdminUp {
		out = append(out, "load balancer is set down")
	}
	return out
}

func forwarded(f *asset.Forwarding) string {
	from, to := fmt.Sprint(f.External), fmt.Sprint(f.Internal)
	if f.ExternalLast > f.External {
		from = fmt.Sprintf("%d-%d", f.External, f.ExternalLast)
	}
	if f.InternalLast > f.Internal {
		to = fmt.Sprintf("%d-%d", f.Internal, f.InternalLast)
	}
	return fmt.Sprintf("%s/%s to %s:%s", f.Protocol, from, f.InternalAddr, to)
}
