package lines

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"demarc/internal/asset"
)

// item is one object as it is written; key is what it is known by within its kind, and what it is sorted by.
type item struct {
	key  string
	body json.RawMessage
}

// kind is one kind of objects: how they are listed, with those that can not be written, and how one is taken in.
type kind struct {
	name string
	list func(*asset.Snapshot) ([]item, []odd, error)
	take func(*asset.Snapshot, json.RawMessage) (key string, err error)
}

// kinds stand in the order of a file: owners first, then machines, networks, and what opens and leads.
var kinds = []kind{
	of("project", func(s *asset.Snapshot) *[]asset.Project { return &s.Projects }, func(v *asset.Project) string { return string(v.ID) }, nil),
	of("user", func(s *asset.Snapshot) *[]asset.User { return &s.Users }, func(v *asset.User) string { return string(v.ID) }, nil),
	of("grant", func(s *asset.Snapshot) *[]asset.Grant { return &s.Grants }, grantKey, checkGrant),
	of("image", func(s *asset.Snapshot) *[]asset.Image { return &s.Images }, func(v *asset.Image) string { return string(v.ID) }, nil),
	of("server", func(s *asset.Snapshot) *[]asset.Server { return &s.Servers }, func(v *asset.Server) string { return string(v.ID) }, checkServer),
	of("network", func(s *asset.Snapshot) *[]asset.Network { return &s.Networks }, func(v *asset.Network) string { return string(v.ID) }, nil),
	of("subnet", func(s *asset.Snapshot) *[]asset.Subnet { return &s.Subnets }, func(v *asset.Subnet) string { return string(v.ID) }, checkSubnet),
	of("router", func(s *asset.Snapshot) *[]asset.Router { return &s.Routers }, func(v *asset.Router) string { return string(v.ID) }, checkRouter),
	of("port", func(s *asset.Snapshot) *[]asset.Port { return &s.Ports }, func(v *asset.Port) string { return string(v.ID) }, checkPort),
	of("floating_ip", func(s *asset.Snapshot) *[]asset.FloatingIP { return &s.FloatingIPs }, func(v *asset.FloatingIP) string { return string(v.ID) }, checkFloatingIP),
	groups,
	rules,
	of("address_set", func(s *asset.Snapshot) *[]asset.AddressSet { return &s.AddressSets }, func(v *asset.AddressSet) string { return string(v.ID) }, func(v *asset.AddressSet) error { return prefixes(v.Prefixes...) }),
	of("trunk", func(s *asset.Snapshot) *[]asset.Trunk { return &s.Trunks }, func(v *asset.Trunk) string { return string(v.ID) }, checkTrunk),
	of("load_balancer", func(s *asset.Snapshot) *[]asset.LoadBalancer { return &s.LoadBalancers }, func(v *asset.LoadBalancer) string { return string(v.ID) }, checkLoadBalancer),
	of("firewall", func(s *asset.Snapshot) *[]asset.Firewall { return &s.Firewalls }, func(v *asset.Firewall) string { return string(v.ID) }, checkFirewall),
	of("link", func(s *asset.Snapshot) *[]asset.Link { return &s.Links }, func(v *asset.Link) string { return v.ID }, func(v *asset.Link) error { return prefixes(v.Remote...) }),
	of("rbac", func(s *asset.Snapshot) *[]asset.RBAC { return &s.RBAC }, func(v *asset.RBAC) string { return string(v.ID) }, nil),
	of("default_rule", func(s *asset.Snapshot) *[]asset.DefaultRule { return &s.DefaultRules }, func(v *asset.DefaultRule) string { return string(v.ID) }, func(v *asset.DefaultRule) error { return checkRule(&v.Rule) }),
}

// Kinds lists the kinds of objects, in the order of a file.
func Kinds() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.name
	}
	return out
}

// isOfPeople tells whether objects of a kind say who people are.
func isOfPeople(kind string) bool { return kind == "user" || kind == "grant" }

// of is a kind whose objects stand in one list of the snapshot.
func of[T any](name string, in func(*asset.Snapshot) *[]T, key func(*T) string, check func(*T) error) kind {
	return kind{name,
		func(s *asset.Snapshot) ([]item, []odd, error) { return listed(*in(s), key, check) },
		func(s *asset.Snapshot, body json.RawMessage) (string, error) {
			v, err := taken(body, key, check)
			if err != nil {
				return "", err
			}
			*in(s) = append(*in(s), v)
			return key(&v), nil
		}}
}

// taken reads one object. A key that nobody knows is refused: a misspelt remote_prefix would open a rule to all.
func taken[T any](body json.RawMessage, key func(*T) string, check func(*T) error) (v T, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, err
	}
	return v, sound(&v, key, check)
}

// sound says what is wrong with an object: what a file is refused for, and what is not written.
func sound[T any](v *T, key func(*T) string, check func(*T) error) error {
	for _, id := range strings.Split(key(v), " ") {
		if !isID(id) {
			return fmt.Errorf("%q is no id", id)
		}
	}
	if check == nil {
		return nil
	}
	return check(v)
}

// isID tells whether a text can name an object: printable ASCII without spaces, as every identifier of a cloud is.
func isID(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// grantKey holds a role without its spaces: an operator calls roles as they like, in any script.
func grantKey(v *asset.Grant) string {
	return string(v.User) + " " + string(v.Project) + " " + url.PathEscape(v.Role)
}

func checkGrant(v *asset.Grant) error {
	if strings.ContainsFunc(v.Role, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("role %q has what can not be seen", v.Role)
	}
	return nil
}

// groups are written without their rules, which have lines of their own.
var groups = kind{"group",
	func(s *asset.Snapshot) ([]item, []odd, error) {
		return listed(slices.Clone(s.Groups), groupKey, func(v *asset.Group) error {
			err := soundRules(v)
			v.Rules = nil // of the clone
			return err
		})
	},
	func(s *asset.Snapshot, body json.RawMessage) (string, error) {
		v, err := taken(body, groupKey, func(v *asset.Group) error {
			if len(v.Rules) > 0 {
				return fmt.Errorf("the rules of a group stand on lines of their own")
			}
			return nil
		})
		if err == nil {
			s.Groups = append(s.Groups, v)
		}
		return groupKey(&v), err
	}}

func groupKey(v *asset.Group) string { return string(v.ID) }

// rules are those of all groups, by group. They are put into their groups when the file is read; see reader.take.
var rules = kind{"rule",
	func(s *asset.Snapshot) ([]item, []odd, error) {
		var out []item
		groupOf := map[asset.RuleID]asset.GroupID{}
		for i := range s.Groups {
			g := &s.Groups[i]
			if sound(g, groupKey, soundRules) != nil { // it is left out, and named with the groups
				continue
			}
			items, odds, err := listed(rulesOf(g), ruleKey, checkRule)
			if err != nil {
				return nil, nil, err
			}
			if len(odds) > 0 {
				return nil, nil, fmt.Errorf("%s: %s", odds[0].key, odds[0].why)
			}
			for _, r := range g.Rules {
				if other, twice := groupOf[r.ID]; twice && other != g.ID {
					return nil, nil, fmt.Errorf("%s is there twice, in group %s and in group %s", r.ID, other, g.ID)
				}
				groupOf[r.ID] = g.ID
			}
			out = append(out, items...)
		}
		return out, nil, nil
	},
	nil}

// rulesOf are a group's rules as they are written: each says whose it is.
func rulesOf(g *asset.Group) []asset.Rule {
	out := slices.Clone(g.Rules)
	for i := range out {
		out[i].Group = g.ID
	}
	return out
}

// soundRules says what is wrong with the rules of a group. It is written whole or not at all: with a rule left out it would look
// narrower than it is.
func soundRules(g *asset.Group) error {
	for _, r := range rulesOf(g) {
		if err := sound(&r, ruleKey, checkRule); err != nil {
			return fmt.Errorf("rule %s: %w", r.ID, err)
		}
	}
	return nil
}

func ruleKey(v *asset.Rule) string { return string(v.Group) + " " + string(v.ID) }

func knownProtocol(s string) bool {
	_, one := asset.ProtocolNumber(s)
	return one || asset.EveryProtocol(s)
}

// checkRule refuses what Neutron does not keep, and what we would read in another way than it was meant.
func checkRule(v *asset.Rule) error {
	remotes := 0
	for _, given := range []bool{v.RemotePrefix.IsValid(), v.RemoteGroup != "", v.RemoteAddress != ""} {
		if given {
			remotes++
		}
	}
	switch family := 4; {
	case v.Direction != asset.Ingress && v.Direction != asset.Egress:
		return fmt.Errorf("direction is %q, not ingress or egress", v.Direction)
	case v.EtherType != 4 && v.EtherType != 6:
		return fmt.Errorf("ether_type is %d, not 4 or 6", v.EtherType)
	case !knownProtocol(v.Protocol):
		return fmt.Errorf("protocol is %q, not tcp, udp, icmp, ipv6-icmp, another name of Neutron's, a number to 255, or empty for any", v.Protocol)
	case !asset.PortsFit(v.Protocol, v.PortMin, v.PortMax):
		return fmt.Errorf("ports %d to %d are none of %s: -1 and -1 is any", v.PortMin, v.PortMax, cmp.Or(v.Protocol, "any protocol"))
	case remotes > 1:
		return fmt.Errorf("a rule has one remote at most")
	case v.RemotePrefix.IsValid():
		if v.RemotePrefix.Addr().Is6() {
			family = 6
		}
		if family != v.EtherType {
			return fmt.Errorf("remote_prefix %s is not of ether type %d", v.RemotePrefix, v.EtherType)
		}
		return prefixes(v.RemotePrefix)
	}
	return nil
}

func checkServer(v *asset.Server) error {
	if v.Status == "" {
		return fmt.Errorf("a server needs a status")
	}
	return nil
}

func checkSubnet(v *asset.Subnet) error {
	if !v.CIDR.IsValid() {
		return fmt.Errorf("a subnet needs a cidr")
	}
	return prefixes(v.CIDR)
}

func checkRouter(v *asset.Router) error {
	for _, r := range v.Routes {
		if !r.Destination.IsValid() {
			return fmt.Errorf("a route needs a destination")
		}
		if err := prefixes(r.Destination); err != nil {
			return err
		}
	}
	return addrs(v.ExternalIPs...)
}

func checkPort(v *asset.Port) error {
	for _, f := range v.FixedIPs {
		if err := addrs(f.Addr); err != nil {
			return err
		}
	}
	for _, p := range v.Pairs {
		if err := prefixes(p.Prefix); err != nil {
			return err
		}
	}
	return nil
}

func checkFloatingIP(v *asset.FloatingIP) error {
	if err := addrs(v.Addr); err != nil {
		return fmt.Errorf("addr: %w", err)
	}
	if v.Fixed.IsValid() {
		if err := addrs(v.Fixed); err != nil {
			return fmt.Errorf("fixed: %w", err)
		}
		if v.Fixed.Is6() != v.Addr.Is6() {
			return fmt.Errorf("fixed: %s is of another family than addr %s", v.Fixed, v.Addr)
		}
	}
	for i := range v.Forwardings {
		if err := checkForwarding(&v.Forwardings[i], v.Addr); err != nil {
			return fmt.Errorf("forwardings[%d].%w", i, err)
		}
	}
	return nil
}

// checkForwarding refuses what Neutron does not keep; its errors begin with the field.
func checkForwarding(w *asset.Forwarding, outside netip.Addr) error {
	_, number := strconv.Atoi(w.Protocol)
	switch {
	case w.Protocol == "" || w.Protocol == "any" || number == nil || !knownProtocol(w.Protocol):
		return fmt.Errorf("protocol is %q, not tcp, udp or another name of Neutron's", w.Protocol)
	case w.Port == "":
		return fmt.Errorf("port is missing")
	case w.External == 0:
		return fmt.Errorf("external is missing")
	case w.Internal == 0:
		return fmt.Errorf("internal is missing")
	case w.ExternalLast != 0 && w.ExternalLast < w.External:
		return fmt.Errorf("external_last is %d, before external %d", w.ExternalLast, w.External)
	case w.InternalLast != 0 && w.InternalLast < w.Internal:
		return fmt.Errorf("internal_last is %d, before internal %d", w.InternalLast, w.Internal)
	case w.InternalLast > w.Internal && w.InternalLast-w.Internal != max(w.ExternalLast, w.External)-w.External:
		return fmt.Errorf("internal_last: %d to %d is no run as long as %d to %d", w.Internal, w.InternalLast, w.External, max(w.ExternalLast, w.External))
	}
	if err := addrs(w.InternalAddr); err != nil {
		return fmt.Errorf("internal_addr: %w", err)
	}
	if w.InternalAddr.Is6() != outside.Is6() {
		return fmt.Errorf("internal_addr: %s is of another family than addr %s", w.InternalAddr, outside)
	}
	return nil
}

func checkLoadBalancer(v *asset.LoadBalancer) error {
	for _, l := range v.Listeners {
		if err := prefixes(l.Allowed...); err != nil {
			return err
		}
	}
	return addrs(v.VIP)
}

func checkFirewall(v *asset.Firewall) error {
	for i := range v.Ingress {
		if err := checkFirewallRule(&v.Ingress[i]); err != nil {
			return fmt.Errorf("ingress[%d].%w", i, err)
		}
	}
	return nil
}

// checkFirewallRule refuses what FWaaS does not keep, and what would be read in another way than it was meant; its errors begin with the
// field. Ports that were left out are 0, and not any.
func checkFirewallRule(r *asset.FirewallRule) error {
	every := r.PortMin == asset.AnyPort && r.PortMax == asset.AnyPort
	switch {
	case r.Action != "allow" && r.Action != "deny" && r.Action != "reject":
		return fmt.Errorf("action is %q, not allow, deny or reject", r.Action)
	case r.EtherType != 4 && r.EtherType != 6:
		return fmt.Errorf("ether_type is %d, not 4 or 6", r.EtherType)
	case !knownProtocol(r.Protocol) || r.Protocol == "any":
		return fmt.Errorf("protocol is %q, not tcp, udp, icmp, a number to 255, or empty for any", r.Protocol)
	case !every && (r.PortMin < 1 || r.PortMin > 65535):
		return fmt.Errorf("port_min is %d, not 1 to 65535; -1 and -1 is any", r.PortMin)
	case !every && (r.PortMax < r.PortMin || r.PortMax > 65535):
		return fmt.Errorf("port_max is %d, not %d to 65535; -1 and -1 is any", r.PortMax, r.PortMin)
	case !every && !asset.HasPorts(r.Protocol):
		return fmt.Errorf("port_min is %d, and %s has no ports", r.PortMin, cmp.Or(r.Protocol, "any protocol"))
	}
	for _, p := range []struct {
		field string
		netip.Prefix
	}{{"source", r.Source}, {"destination", r.Destination}} {
		if !p.IsValid() {
			continue
		}
		if err := prefixes(p.Prefix); err != nil {
			return fmt.Errorf("%s: %w", p.field, err)
		}
		if p.Addr().Is6() != (r.EtherType == 6) {
			return fmt.Errorf("%s: %s is not of ether type %d", p.field, p.Prefix, r.EtherType)
		}
	}
	return nil
}

func checkTrunk(v *asset.Trunk) error {
	switch {
	case v.Port == "":
		return fmt.Errorf("port is missing")
	case slices.Contains(v.SubPorts, v.Port):
		return fmt.Errorf("sub_ports: %s is the trunk's own port", v.Port)
	}
	return nil
}

// dangling finds what a trunk names and a cloud that was read to its end does not hold: the field, and the port.
func dangling(t *asset.Trunk, held func(asset.PortID) bool) (field string, id asset.PortID, found bool) {
	if !held(t.Port) {
		return "port", t.Port, true
	}
	for _, p := range t.SubPorts {
		if !held(p) {
			return "sub_ports", p, true
		}
	}
	return "", "", false
}

// addrs refuses addresses that are none, and those that are written so that they compare unequal to themselves.
func addrs(as ...netip.Addr) error {
	for _, a := range as {
		if !a.IsValid() {
			return fmt.Errorf("an address is missing")
		}
		if a.Zone() != "" || a.Is4In6() {
			return fmt.Errorf("%s is no plain address", a)
		}
	}
	return nil
}

func prefixes(ps ...netip.Prefix) error {
	for _, p := range ps {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("%s is no plain prefix", p)
		}
	}
	return nil
}
