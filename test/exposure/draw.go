package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"demarc/test/account"
)

// wirePort is what of a port a drawing changes, and what brings it back.
type wirePort struct {
	ID       string `json:"id"`
	Project  string `json:"project_id"`
	Network  string `json:"network_id"`
	Device   string `json:"device_id"`
	Owner    string `json:"device_owner"`
	MAC      string `json:"mac_address"`
	Up       bool   `json:"admin_state_up"`
	Security bool   `json:"port_security_enabled"`
	Groups   []string
	Pairs    []pair `json:"allowed_address_pairs"`
	Fixed    []struct {
		Addr netip.Addr `json:"ip_address"`
	} `json:"fixed_ips"`
}

type pair struct {
	Addr string `json:"ip_address"`
	MAC  string `json:"mac_address,omitempty"`
}

type wireFloating struct {
	ID      string  `json:"id"`
	Project string  `json:"project_id"`
	Addr    string  `json:"floating_ip_address"`
	Port    *string `json:"port_id"`
	Fixed   *string `json:"fixed_ip_address"`
}

// world is the standing cloud, and what is done to it.
type world struct {
	api      *account.Account
	testbed  string
	ports    []wirePort // as they stood
	floating []wireFloating
	servers  map[string]string // name by id
	networks map[string]string // name by id
	made     []string          // groups of ours
	forwards []string          // floating IP and forwarding
	claims   []claimed
	touched  map[string]bool
	down     map[string]bool // ports that the last drawing set down

	echoes     *echoes
	routers    []string // by id
	stopped    string   // the server that is stopped for this drawing, and the router that is down
	routerDown string
}

type claimed struct {
	server, mac, port string
	addr              netip.Addr
}

// excluded servers hide from scanners, or answer everything: packets say nothing about filters there.
var excluded = []string{"blocker", "tarpit"}

func newWorld(ctx context.Context, a *account.Account, testbed string) (*world, error) {
	w := &world{api: a, testbed: testbed, servers: map[string]string{}, networks: map[string]string{}, touched: map[string]bool{}, down: map[string]bool{}}
	var servers struct{ Servers []struct{ ID, Name string } }
	var ports struct {
		Ports []struct {
			wirePort
			Groups []string `json:"security_groups"`
		}
	}
	var networks struct{ Networks []struct{ ID, Name string } }
	var routers struct{ Routers []struct{ ID, Name string } }
	var floating struct{ FloatingIPs []wireFloating }
	for _, g := range []struct {
		url  string
		into any
	}{{a.Compute + "/servers?all_tenants=true", &servers}, {a.Network + "/ports", &ports}, {a.Network + "/networks", &networks}, {a.Network + "/floatingips", &floating}, {a.Network + "/routers", &routers}} {
		if _, err := a.Do(ctx, "GET", g.url, nil, g.into); err != nil {
			return nil, err
		}
	}
	for _, s := range servers.Servers {
		w.servers[s.ID] = s.Name
	}
	for _, r := range routers.Routers {
		w.routers = append(w.routers, r.ID)
	}
	slices.Sort(w.routers)
	for _, n := range networks.Networks {
		w.networks[n.ID] = n.Name
	}
	for _, p := range ports.Ports {
		if name := w.servers[p.Device]; name != "" && !slices.Contains(excluded, name) {
			p.wirePort.Groups = p.Groups
			w.ports = append(w.ports, p.wirePort)
		}
	}
	w.floating = floating.FloatingIPs
	if err := w.untouched(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(w.ports, func(x, y wirePort) int {
		return slices.Compare([]string{w.servers[x.Device], x.Network}, []string{w.servers[y.Device], y.Network})
	})
	slices.SortFunc(w.floating, func(x, y wireFloating) int { return slices.Compare([]string{x.Addr}, []string{y.Addr}) })
	if len(w.ports) < 10 || len(w.floating) < 6 || len(w.routers) == 0 {
		return nil, fmt.Errorf("%d ports, %d floating IPs and %d routers: is it the scenario campus?", len(w.ports), len(w.floating), len(w.routers))
	}
	return w, nil
}

// untouched refuses a cloud that an exam left redrawn: what is found is what is brought back.
func (w *world) untouched(ctx context.Context) error {
	var groups struct {
		Groups []struct{ ID string } `json:"security_groups"`
	}
	if _, err := w.api.Do(ctx, "GET", w.api.Network+"/security-groups?name="+groupName, nil, &groups); err != nil {
		return err
	}
	if n := len(groups.Groups); n > 0 {
		return fmt.Errorf("an exam that was cut left %d groups called %s: make cloud-down, and begin with a new cloud", n, groupName)
	}
	return nil
}

// network finds a network's id.
func (w *world) network(name string) string {
	for id, n := range w.networks {
		if n == name {
			return id
		}
	}
	return ""
}

// names gives each server once.
func (w *world) names() []string {
	var out []string
	for _, p := range w.ports {
		if n := w.servers[p.Device]; !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

type ruleDraw map[string]any

// redraw changes some ports, floating IPs and forwardings. What it leaves alone stays from the drawing before.
func (w *world) redraw(ctx context.Context, rng *rand.Rand) error {
	if err := w.undoLoose(ctx); err != nil {
		return err
	}
	if err := w.turnOn(ctx); err != nil {
		return err
	}
	for _, i := range rng.Perm(len(w.ports))[:3] {
		if err := w.redrawPort(ctx, rng, w.ports[i]); err != nil {
			return err
		}
	}
	if rng.IntN(2) == 0 {
		if err := w.swapFloating(ctx, rng); err != nil {
			return err
		}
	}
	if rng.IntN(3) == 0 {
		if err := w.forward(ctx, rng); err != nil {
			return err
		}
	}
	if err := w.turnOff(ctx, rng); err != nil {
		return err
	}
	return w.deleteUnused(ctx)
}

// redrawPort gives a port groups of its own, stateful or stateless alike, or takes its filtering away, and lets it answer for more.
func (w *world) redrawPort(ctx context.Context, rng *rand.Rand, p wirePort) error {
	body := map[string]any{"admin_state_up": rng.IntN(12) > 0, "port_security_enabled": true, "allowed_address_pairs": []pair{}, "security_groups": []string{}}
	w.touched[p.ID], w.down[p.ID] = true, body["admin_state_up"] == false
	if rng.IntN(7) == 0 {
		body["port_security_enabled"] = false
		return w.update(ctx, p.ID, body)
	}
	groups := []string{}
	stateful := rng.IntN(4) > 0
	for range rng.IntN(4) {
		id, err := w.group(ctx, rng, p.Project, stateful)
		if err != nil {
			return err
		}
		groups = append(groups, id)
	}
	pairs := []pair{}
	if a, ok := w.spare(p, rng); ok && rng.IntN(2) == 0 {
		pairs = append(pairs, pair{Addr: a.String()})
		if err := claim(ctx, w.testbed, w.servers[p.Device], p.MAC, a, true); err != nil {
			return err
		}
		w.claims = append(w.claims, claimed{w.servers[p.Device], p.MAC, p.ID, a})
	}
	body["security_groups"], body["allowed_address_pairs"] = groups, pairs
	return w.update(ctx, p.ID, body)
}

// spare is an address that nothing holds and a port may be let to answer for. No two ports ever get the same: what neighbours remember
// of an address that moved is not what is asked here.
func (w *world) spare(p wirePort, rng *rand.Rand) (netip.Addr, bool) {
	i := slices.IndexFunc(w.ports, func(q wirePort) bool { return q.ID == p.ID })
	switch w.networks[p.Network] {
	case "public":
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(251 + rng.IntN(3))}), true
	case "astro-net":
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:a1::f%x%d", i, rng.IntN(3))), true
	}
	return netip.Addr{}, false
}

func (w *world) update(ctx context.Context, port string, body map[string]any) error {
	_, err := w.api.Do(ctx, "PUT", w.api.Network+"/ports/"+port, map[string]any{"port": body}, nil)
	return err
}

// group makes a group with some rules.
func (w *world) group(ctx context.Context, rng *rand.Rand, project string, stateful bool) (string, error) {
	var made struct {
		Group struct {
			ID    string
			Rules []struct{ ID, Direction string } `json:"security_group_rules"`
		} `json:"security_group"`
	}
	body := map[string]any{"name": groupName, "project_id": project, "stateful": stateful}
	if _, err := w.api.Do(ctx, "POST", w.api.Network+"/security-groups", map[string]any{"security_group": body}, &made); err != nil {
		return "", err
	}
	id := made.Group.ID
	w.made = append(w.made, id)
	if rng.IntN(3) == 0 { // no egress at all: a stateful group answers nevertheless, a stateless one does not
		for _, r := range made.Group.Rules {
			if _, err := w.api.Do(ctx, "DELETE", w.api.Network+"/security-group-rules/"+r.ID, nil, nil); err != nil {
				return "", err
			}
		}
	}
	seen, rules := map[string]bool{}, []ruleDraw{}
	for range 1 + rng.IntN(3) {
		rule := w.rule(rng)
		rule["security_group_id"] = id
		if k := fmt.Sprint(rule); !seen[k] { // a map prints in the order of its keys
			seen[k] = true
			rules = append(rules, rule)
		}
	}
	_, err := w.api.Do(ctx, "POST", w.api.Network+"/security-group-rules", map[string]any{"security_group_rules": rules}, nil)
	if errors.Is(err, account.Status(409)) { // Neutron makes every group with rules that let all out: one of ours was the same
		err = nil
	}
	return id, err
}

// groupName is what groups of ours are called.
const groupName = "demarc-exam"

var (
	remotes4 = []string{"0.0.0.0/0", "198.51.100.10/32", "198.51.100.66/32", "198.51.100.0/24", "198.51.100.0/26", "172.28.0.0/16", "172.28.5.0/24", "192.0.2.0/24"}
	remotes6 = []string{"::/0", "2001:db8:f::10/128", "2001:db8:f::/64", "2001:db8:e::/64", "2001:db8:d::/64"}
	tcpPorts = []int{21, 22, 23, 80, 443, 6379, 8080, 40000}
)

// rule draws one rule. Most let something in.
func (w *world) rule(rng *rand.Rand) ruleDraw {
	r := ruleDraw{"direction": "ingress", "ethertype": "IPv4"}
	if rng.IntN(6) == 0 {
		r["direction"] = "egress"
	}
	remotes := remotes4
	if rng.IntN(3) == 0 {
		r["ethertype"], remotes = "IPv6", remotes6
	}
	switch k := rng.IntN(10); {
	case k < 5:
		r["protocol"] = []string{"tcp", "6"}[rng.IntN(2)]
		lo := tcpPorts[rng.IntN(len(tcpPorts))]
		r["port_range_min"], r["port_range_max"] = lo, min(65535, lo+[]int{0, 0, 1, 60, 65535}[rng.IntN(5)])
	case k < 7:
		r["protocol"] = []string{"udp", "17"}[rng.IntN(2)]
		lo := udpPorts[rng.IntN(len(udpPorts))]
		r["port_range_min"], r["port_range_max"] = lo, lo+[]int{0, 1, 10}[rng.IntN(3)]
	case k < 9:
		r["protocol"] = "icmp"
		if r["ethertype"] == "IPv6" {
			r["protocol"] = "ipv6-icmp"
		}
		if rng.IntN(2) == 0 {
			r["port_range_min"] = []int{0, 3, 8, 128}[rng.IntN(4)]
			if rng.IntN(2) == 0 {
				r["port_range_max"] = rng.IntN(2)
			}
		}
	}
	if r["direction"] == "egress" { // the answers' way out: all ports, for the asker's own is any
		delete(r, "port_range_min")
		delete(r, "port_range_max")
	}
	switch k := rng.IntN(8); {
	case k == 0 && len(w.made) > 0 && r["direction"] == "ingress":
		r["remote_group_id"] = w.made[len(w.made)-1]
	case k < 7:
		r["remote_ip_prefix"] = remotes[rng.IntN(len(remotes))]
	}
	return r
}

// swapFloating exchanges what two floating IPs of one project lead to.
func (w *world) swapFloating(ctx context.Context, rng *rand.Rand) error {
	i, j := rng.IntN(len(w.floating)), rng.IntN(len(w.floating))
	a, b := w.floating[i], w.floating[j]
	if i == j || a.Project != b.Project || a.Port == nil || b.Port == nil {
		return nil
	}
	for _, s := range []struct {
		ip string
		to *string
	}{{a.ID, nil}, {b.ID, a.Port}, {a.ID, b.Port}} {
		if err := w.lead(ctx, s.ip, s.to); err != nil {
			return err
		}
	}
	w.floating[i].Port, w.floating[j].Port = b.Port, a.Port
	return nil
}

func (w *world) lead(ctx context.Context, ip string, port *string) error {
	_, err := w.api.Do(ctx, "PUT", w.api.Network+"/floatingips/"+ip, map[string]any{"floatingip": map[string]any{"port_id": port}}, nil)
	return err
}

// forwarded is the outer port of each forwarding.
const forwarded = 8080

// forward turns one floating IP into a forwarding to the port that it led to.
func (w *world) forward(ctx context.Context, rng *rand.Rand) error {
	f := w.floating[rng.IntN(len(w.floating))]
	if f.Port == nil {
		return nil
	}
	i := slices.IndexFunc(w.ports, func(p wirePort) bool { return p.ID == *f.Port })
	if i < 0 {
		return nil
	}
	if err := w.lead(ctx, f.ID, nil); err != nil {
		return err
	}
	w.forwards = append(w.forwards, f.ID)
	body := map[string]any{"protocol": "tcp", "external_port": forwarded, "internal_port": []int{22, 80, 6379}[rng.IntN(3)], "internal_port_id": *f.Port, "internal_ip_address": w.ports[i].Fixed[0].Addr.String()}
	if rng.IntN(2) == 0 {
		body["protocol"], body["internal_port"] = "udp", 5300
	}
	_, err := w.api.Do(ctx, "POST", w.api.Network+"/floatingips/"+f.ID+"/port_forwardings", map[string]any{"port_forwarding": body}, nil)
	return err
}

// undoLoose takes back what the next drawing does not draw over: forwardings and claimed addresses.
func (w *world) undoLoose(ctx context.Context) error {
	for _, ip := range w.forwards {
		var body struct {
			Forwardings []struct{ ID string } `json:"port_forwardings"`
		}
		at := w.api.Network + "/floatingips/" + ip + "/port_forwardings"
		if _, err := w.api.Do(ctx, "GET", at, nil, &body); err != nil {
			return err
		}
		for _, f := range body.Forwardings {
			if _, err := w.api.Do(ctx, "DELETE", at+"/"+f.ID, nil, nil); err != nil {
				return err
			}
		}
		i := slices.IndexFunc(w.floating, func(f wireFloating) bool { return f.ID == ip })
		if err := w.lead(ctx, ip, w.floating[i].Port); err != nil {
			return err
		}
	}
	w.forwards = nil
	for _, c := range w.claims {
		if err := claim(ctx, w.testbed, c.server, c.mac, c.addr, false); err != nil {
			return err
		}
	}
	for _, c := range w.claims {
		if err := w.update(ctx, c.port, map[string]any{"allowed_address_pairs": []pair{}}); err != nil {
			return err
		}
	}
	w.claims = nil
	return nil
}

// deleteUnused deletes groups of ours that no port carries and no rule names any more.
func (w *world) deleteUnused(ctx context.Context) error {
	var left []string
	for _, id := range w.made {
		if _, err := w.api.Do(ctx, "DELETE", w.api.Network+"/security-groups/"+id, nil, nil); err != nil {
			if !errors.Is(err, account.Status(409)) {
				return err
			}
			left = append(left, id)
		}
	}
	w.made = left
	return nil
}

// restore brings the cloud back to where it stood.
func (w *world) restore(ctx context.Context, first []wireFloating) error {
	errs := []error{w.undoLoose(ctx), w.turnOn(ctx)}
	for _, p := range w.ports {
		if !w.touched[p.ID] {
			continue
		}
		body := map[string]any{"admin_state_up": p.Up, "port_security_enabled": p.Security, "security_groups": p.Groups, "allowed_address_pairs": append([]pair{}, p.Pairs...)}
		errs = append(errs, w.update(ctx, p.ID, body))
	}
	for i, f := range first {
		if now := w.floating[i]; now.Port != nil && f.Port != nil && *now.Port != *f.Port {
			errs = append(errs, w.lead(ctx, f.ID, nil))
		}
	}
	for i, f := range first {
		if now := w.floating[i]; now.Port != nil && f.Port != nil && *now.Port != *f.Port {
			errs = append(errs, w.lead(ctx, f.ID, f.Port))
		}
	}
	for range 3 { // groups name each other
		errs = append(errs, w.deleteUnused(ctx))
	}
	if len(w.made) > 0 {
		errs = append(errs, fmt.Errorf("%d groups are left", len(w.made)))
	}
	return errors.Join(errs...)
}
