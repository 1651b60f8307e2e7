package lines_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/asset/lines"
	"demarc/internal/fault"
	"demarc/internal/untrusted"
)

// full is a cloud in which every field of every kind of object has a value.
func full() *asset.Snapshot {
	ip, cidr, t := netip.MustParseAddr, netip.MustParsePrefix, untrusted.From
	rule := func(id asset.RuleID, g asset.GroupID) asset.Rule {
		return asset.Rule{ID: id, Group: g, Direction: asset.Ingress, EtherType: 4, Protocol: "tcp", PortMin: 22, PortMax: 80, RemotePrefix: cidr("192.0.2.0/24")}
	}
	remote, set := rule("r2", "g1"), rule("r3", "g2")
	remote.RemotePrefix, remote.RemoteGroup = netip.Prefix{}, "g2"
	set.RemotePrefix, set.RemoteAddress = netip.Prefix{}, "set1"
	return &asset.Snapshot{
		Cloud: "lab", Began: 1_777_777_777_123_456, Ended: 1_777_777_777_123_456,
		Projects: []asset.Project{{ID: "p1", Name: t("one\x1b[31m\u202e <&>\"\\"), Domain: "default", Enabled: true, Tags: []string{"a"}}},
		Users:    []asset.User{{ID: "u1", Name: t("alice"), Mail: "alice@astro.example", Enabled: true}},
		Grants:   []asset.Grant{{User: "u1", Project: "p1", Role: "member"}},
		Images:   []asset.Image{{ID: "i1", Project: "p1", Name: t("Debian"), OSDistro: "debian", OSVersion: "13", Profile: t("web")}},
		Servers: []asset.Server{{ID: "s1", Project: "p1", Creator: "u1", Name: t("web\r\n\xff"), Status: "ACTIVE", Image: "i1", Created: 5, Locked: true, LockedReason: t("case 42"),
			Metadata: map[string]untrusted.Text{"demarc:profile": t("web"), "Owner": t("alice"), "owner": t("bob")},
			Tags:     []untrusted.Text{t("demarc-profile=web")}, Volumes: []asset.VolumeID{"v1"}}},
		Networks: []asset.Network{{
			ID:         "n1",
			Project:    "p1",
			Name:       t("net"),
			External:   true,
			Shared:     true,
			Unfiltered: true,
			Scope4:     "sc4",
			Scope6:     "sc6",
		}},
		Subnets: []asset.Subnet{{ID: "sub1", Network: "n1", Project: "p1", CIDR: cidr("10.0.0.0/24"), Gateway: ip("10.0.0.1")}},
		Routers: []asset.Router{{
			ID:          "ro1",
			Project:     "p1",
			Name:        t("r"),
			AdminUp:     true,
			External:    "n1",
			ExternalIPs: []netip.Addr{ip("203.0.113.1")},
			SNAT:        true,
			Routes:      []asset.Route{{Destination: cidr("10.9.0.0/16"), NextHop: ip("10.0.0.9")}},
		}},
		Ports: []asset.Port{{
			ID:           "po1",
			Project:      "p1",
			Network:      "n1",
			Server:       "s1",
			Device:       "s1",
			DeviceOwner:  "compute:nova",
			MAC:          "fa:16:3e:00:00:01",
			FixedIPs:     []asset.FixedIP{{Subnet: "sub1", Addr: ip("10.0.0.5")}},
			Groups:       []asset.GroupID{"g1"},
			PortSecurity: true,
			AdminUp:      true,
			Status:       "ACTIVE",
			Pairs:        []asset.AddressPair{{Prefix: cidr("10.0.0.7/32"), MAC: "fa:16:3e:00:00:02"}},
			VNICType:     "normal",
			Driver:       "ovn",
			Tags:         []string{"x"},
			Revision:     7,
		}, {ID: "po2", Project: "p1", Network: "n1", Unbound: true}},
		FloatingIPs:   []asset.FloatingIP{{ID: "f1", Project: "p1", Network: "n1", Addr: ip("203.0.113.5"), Port: "po1", Fixed: ip("10.0.0.5"), Router: "ro1", Status: "ACTIVE", Forwardings: []asset.Forwarding{{ID: "fw1", Protocol: "tcp", External: 8080, ExternalLast: 8081, Port: "po1", InternalAddr: ip("10.0.0.5"), Internal: 80, InternalLast: 81}}, Revision: 3}},
		Groups:        []asset.Group{{ID: "g1", Project: "p1", Name: t("web"), Stateless: true, Shared: true, Rules: []asset.Rule{rule("r1", "g1"), remote}, Revision: 2}, {ID: "g2", Rules: []asset.Rule{set}}},
		AddressSets:   []asset.AddressSet{{ID: "set1", Project: "p1", Prefixes: []netip.Prefix{cidr("192.0.2.0/25")}}},
		Trunks:        []asset.Trunk{{ID: "t1", Project: "p1", Port: "po1", AdminUp: true, SubPorts: []asset.PortID{"po2"}}},
		LoadBalancers: []asset.LoadBalancer{{ID: "lb1", Project: "p1", Name: t("lb"), Provider: "ovn", AdminUp: true, VIP: ip("10.0.0.8"), VIPPort: "po3", Listeners: []asset.Listener{{ID: "l1", Protocol: "TCP", Port: 443, AdminUp: true, Allowed: []netip.Prefix{cidr("192.0.2.0/24")}}}}},
		Firewalls:     []asset.Firewall{{ID: "fw1", Project: "p1", Name: t("fw"), AdminUp: true, Ports: []asset.PortID{"po1"}, Ingress: []asset.FirewallRule{{ID: "x", Enabled: true, Action: "allow", Protocol: "tcp", EtherType: 4, Source: cidr("192.0.2.0/24"), Destination: cidr("10.0.0.0/24"), PortMin: 1, PortMax: 2, Unclear: true}}}},
		Links:         []asset.Link{{ID: "v1", Kind: asset.LinkVPN, Project: "p1", Router: "ro1", NextHop: ip("10.0.0.1"), Remote: []netip.Prefix{cidr("10.8.0.0/16")}, AdminUp: true}},
		RBAC:          []asset.RBAC{{ID: "rb1", Project: "p1", Type: "network", Object: "n1", Action: "access_as_shared", Target: "*"}},
		DefaultRules:  []asset.DefaultRule{{Rule: rule("d1", ""), InDefault: true, InCustom: true}},
	}
}

func write(t testing.TB, s *asset.Snapshot, people bool) string {
	t.Helper()
	var b bytes.Buffer
	if left, err := lines.Write(&b, s, people); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	return b.String()
}

// A field that is added to an object and has no value here would be lost without anybody seeing it.
func TestTheExampleHasEveryField(t *testing.T) {
	t.Parallel()
	empty := map[string]bool{}
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch v.Kind() { //nolint:exhaustive // what else is a leaf
		case reflect.Slice:
			for i := range v.Len() {
				walk(name, v.Index(i))
			}
		case reflect.Struct:
			if v.Type().PkgPath() == "demarc/internal/asset" {
				for i := range v.NumField() {
					walk(v.Type().Name()+"."+v.Type().Field(i).Name, v.Field(i))
				}
				return
			}
		}
		was, seen := empty[name]
		empty[name] = (was || !seen) && (v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0)
	}
	walk("", reflect.ValueOf(full()).Elem())
	delete(empty, "Snapshot.Gaps") // what a file is, and not what is in it
	delete(empty, "Snapshot.Only")
	delete(empty, "Snapshot.Unreadable")
	delete(empty, "Snapshot.NovaClock")
	for name, is := range empty {
		if is {
			t.Errorf("%s has no value", name)
		}
	}
	if len(empty) < 100 {
		t.Errorf("only %d fields were found", len(empty))
	}
}

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	text := write(t, full(), true)
	got, people, err := lines.Read("x", strings.NewReader(text))
	if err != nil || !people {
		t.Fatal(people, err)
	}
	if want := full(); !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
	if again := write(t, got, true); again != text {
		t.Errorf("written again it is\n%s\nand was\n%s", again, text)
	}
	for _, k := range lines.Kinds() {
		if !strings.Contains(text, `{"kind":"`+k+`","body":{"`) {
			t.Errorf("there is no %s", k)
		}
	}
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
			t.Errorf("line %d holds a control character", i+1)
		}
	}
}

// The order in which the cloud listed its objects leaves no trace.
func TestTheOrderOfListingsDoesNotShow(t *testing.T) {
	t.Parallel()
	many := func(order []int) *asset.Snapshot {
		s := &asset.Snapshot{Cloud: "lab"}
		for _, i := range order {
			g := asset.Group{ID: asset.GroupID(fmt.Sprint("g", i))}
			for _, j := range order {
				g.Rules = append(g.Rules, asset.Rule{ID: asset.RuleID(fmt.Sprint("r", i, "-", j)), Direction: asset.Egress, EtherType: 6, PortMin: -1, PortMax: -1})
			}
			s.Groups = append(s.Groups, g)
			s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID(fmt.Sprint("s", i)), Status: "ACTIVE"})
			s.Grants = append(s.Grants, asset.Grant{User: "u", Project: asset.ProjectID(fmt.Sprint("p", i)), Role: "member"})
		}
		return s
	}
	order := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	want := write(t, many(order), true)
	for range 20 {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if got := write(t, many(order), true); got != want {
			t.Fatalf("listed as %v it is\n%s\nelse\n%s", order, got, want)
		}
	}
	ls := strings.Split(want, "\n") // and a person who edits a file may put a line where they like
	rand.Shuffle(len(ls)-3, func(i, j int) { ls[i+1], ls[j+1] = ls[j+1], ls[i+1] })
	got, _, err := lines.Read("x", strings.NewReader(strings.Join(ls, "\n")))
	if err != nil || write(t, got, true) != want {
		t.Errorf("%v: lines in another order are another state", err)
	}
}

func TestPeopleAreLeftOutUnlessAskedFor(t *testing.T) {
	t.Parallel()
	s := full()
	text := write(t, s, false)
	for _, private := range []string{"alice", "u1", "member", "case 42", "bob", `"kind":"user"`, `"kind":"grant"`} {
		if strings.Contains(text, private) {
			t.Errorf("the file says %q", private)
		}
	}
	if !strings.Contains(text, `"metadata":{"demarc:profile":"web"}`) {
		t.Error("what the owner told us is lost")
	}
	if !reflect.DeepEqual(s, full()) {
		t.Error("writing changed the snapshot")
	}
	got, people, err := lines.Read("x", strings.NewReader(text))
	if err != nil || people || len(got.Users)+len(got.Grants) != 0 {
		t.Errorf("%v %v %d", err, people, len(got.Users))
	}
}

func TestAFileOfAnIncompleteReadingSaysSo(t *testing.T) {
	t.Parallel()
	s := full()
	s.Gaps = []asset.Gap{{Kind: "servers", Reason: "a page was lost"}}
	got, _, err := lines.Read("x", strings.NewReader(write(t, s, true)))
	if err != nil || got.Complete() {
		t.Errorf("%v: complete %v", err, got.Complete())
	}
	got, _, err = lines.Read("x", strings.NewReader(strings.Replace(write(t, full(), true), `"complete":true,`, "", 1)))
	if err != nil || got.Complete() {
		t.Errorf("%v: what does not say that it is complete is taken for complete", err)
	}
}

// A trunk that was read before its ports leaves a file that does not say that nothing is missing, so that it can be read.
func TestATrunkBeforeItsPortsIsAFileThatLacksThem(t *testing.T) {
	t.Parallel()
	for _, bend := range []func(*asset.Trunk){func(v *asset.Trunk) { v.Port = "gone" }, func(v *asset.Trunk) { v.SubPorts = append(v.SubPorts, "gone") }} {
		s := full()
		bend(&s.Trunks[0])
		text := write(t, s, true)
		got, _, err := lines.Read("x", strings.NewReader(text))
		if err != nil || got.Complete() || !reflect.DeepEqual(got.Trunks, s.Trunks) {
			t.Errorf("%v: %+v", err, got)
		}
		if _, _, err := lines.Read("x", strings.NewReader(strings.Replace(text, `"complete":false`, `"complete":true`, 1))); err == nil {
			t.Error("a port is missing of a file that says that nothing is")
		}
	}
}

// What is written in the ways that the services know is taken.
func TestFirewallRulesAndForwardingsAsTheServicesKeepThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		firewallLine(`"action":"reject","protocol":"icmp","ether_type":6,"port_min":-1,"port_max":-1,"source":"::/0"`),
		firewallLine(`"action":"deny","protocol":"6","ether_type":4,"port_min":1,"port_max":65535,"unclear":true`),
		forwardingLine(`"protocol":"udp","port":"p","external":53,"external_last":53,"internal":53,"internal_last":53,"internal_addr":"10.0.0.5"`),
		forwardingLine(`"protocol":"tcp","port":"p","external":80,"external_last":90,"internal":80,"internal_addr":"10.0.0.5"`),
		trunkLines(`"port":"a","sub_ports":["b"]`, "a", "b"),
		strings.Replace(trunkLines(`"port":"a","sub_ports":["b"]`), `"complete":true`, `"complete":false`, 1),
	} {
		if _, _, err := lines.Read("x", strings.NewReader(text)); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
}

func TestTwoOfOneIDAreNotWritten(t *testing.T) {
	t.Parallel()
	s := full()
	s.Ports = append(s.Ports, s.Ports[0])
	if _, err := lines.Write(io.Discard, s, true); err == nil || !strings.Contains(err.Error(), "port po1 is there twice") {
		t.Error(err)
	}
	s = full()
	s.Groups[1].Rules[0].ID = s.Groups[0].Rules[0].ID
	if _, err := lines.Write(io.Discard, s, true); err == nil || !strings.Contains(err.Error(), "r1 is there twice, in group g1 and in group g2") {
		t.Error(err)
	}
}

const (
	head = `{"format":"demarc-inventory","version":1,"cloud":"lab","time":"2026-05-04T02:14:00Z","complete":true,"people":false}` + "\n"
	last = `{"kind":"end"}` + "\n"
	grp  = `{"kind":"group","body":{"id":"g"}}` + "\n"
)

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":"x","K%d":"}{,\"",`, i, i)
	}
	return b.String()
}

func ruleLine(body string) string {
	return head + grp + `{"kind":"rule","body":{` + body + `}}` + "\n" + last
}

func firewallLine(rule string) string {
	return head + `{"kind":"firewall","body":{"id":"f","ingress":[{"enabled":true,"action":"allow","ether_type":4,"port_min":-1,"port_max":-1},{"enabled":true,` + rule + `}]}}` + "\n" + last
}

func forwardingLine(body string) string {
	return head + `{"kind":"floating_ip","body":{"id":"f","addr":"203.0.113.5","forwardings":[{` + body + `}]}}` + "\n" + last
}

func trunkLines(body string, ports ...string) string {
	out := head + `{"kind":"trunk","body":{"id":"t",` + body + `}}` + "\n"
	for _, p := range ports {
		out += `{"kind":"port","body":{"id":"` + p + `"}}` + "\n"
	}
	return out + last
}

// hostile are files that must be refused, each at its line.
var hostile = map[string]struct {
	text string
	line int
	says string
}{
	"empty":                                {"", 1, "breaks off"},
	"another format":                       {`{"format":"x","version":1}` + "\n", 1, "no inventory"},
	"no JSON":                              {"hello\n", 1, "no inventory"},
	"an array":                             {"[]\n", 1, "no inventory"},
	"a newer version":                      {strings.Replace(head, `"version":1`, `"version":2,"shape":"new"`, 1), 1, "version 2"},
	"no version":                           {strings.Replace(head, `"version":1,`, "", 1), 1, "version 0"},
	"an unknown key of the first":          {strings.Replace(head, `"people"`, `"persons"`, 1), 1, `unknown field "persons"`},
	"no cloud":                             {strings.Replace(head, `"lab"`, `""`, 1), 1, "names no cloud"},
	"a cloud with a line break":            {strings.Replace(head, `"lab"`, `"la\nb"`, 1), 1, "names no cloud"},
	"no time":                              {strings.Replace(head, "2026-05-04", "yesterday ", 1), 1, "not a time"},
	"a time before all":                    {strings.Replace(head, "2026", "1926", 1), 1, "not a time"},
	"cut off":                              {head + grp, 3, "breaks off"},
	"cut off in a line":                    {head + grp + `{"kind":"gro`, 3, "no JSON object"},
	"something behind the end":             {head + last + grp, 3, "behind the end"},
	"an end with a body":                   {head + `{"kind":"end","body":{}}` + "\n", 2, `unknown kind "end"`},
	"an empty line":                        {head + "\n" + last, 2, "no JSON object"},
	"an unknown kind":                      {head + grp + `{"kind":"gruop","body":{"id":"x"}}` + "\n" + last, 3, `unknown kind "gruop"`},
	"a kind in other letters":              {head + `{"kind":"Group","body":{"id":"x"}}` + "\n" + last, 2, `unknown kind "Group"`},
	"no body":                              {head + `{"kind":"group"}` + "\n" + last, 2, "no JSON object"},
	"a body of null":                       {head + `{"kind":"group","body":null}` + "\n" + last, 2, `"" is no id`},
	"a body that is a list":                {head + `{"kind":"group","body":[]}` + "\n" + last, 2, "the body can not be: array"},
	"a key twice":                          {head + `{"kind":"group","kind":"rule","body":{"id":"x"}}` + "\n" + last, 2, `the key "kind" is there twice`},
	"a key twice, inside":                  {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22,"remote_prefix":"192.0.2.0/24","remote_prefix":"0.0.0.0/0"`), 3, "twice"},
	"a key twice in two letters":           {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22,"remote_prefix":"192.0.2.0/24","Remote_Prefix":"0.0.0.0/0"`), 3, "twice"},
	"a misspelt key":                       {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22,"remote_prefx":"192.0.2.0/24"`), 3, `unknown field "remote_prefx"`},
	"no direction":                         {ruleLine(`"id":"r","group":"g","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22`), 3, "direction"},
	"no ether type":                        {ruleLine(`"id":"r","group":"g","direction":"ingress","protocol":"tcp","port_min":22,"port_max":22`), 3, "ether_type"},
	"a port that is none":                  {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":70000`), 3, "ports 22 to 70000"},
	"ports without a protocol":             {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"port_min":22,"port_max":22`), 3, "ports 22 to 22 are none of any protocol"},
	"ports of GRE":                         {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"47","port_min":22,"port_max":22`), 3, "ports 22 to 22 are none of 47"},
	"port 0":                               {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":0,"port_max":22`), 3, "ports 0 to 22 are none of tcp"},
	"ports that are left out":              {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp"`), 3, "ports 0 to 0 are none of tcp"},
	"another family":                       {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22,"remote_prefix":"2001:db8::/32"`), 3, "ether type 4"},
	"two remotes":                          {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22,"remote_prefix":"192.0.2.0/24","remote_group":"g"`), 3, "one remote"},
	"a prefix within another":              {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":6,"protocol":"tcp","port_min":22,"port_max":22,"remote_prefix":"::ffff:192.0.2.0/120"`), 3, "no plain prefix"},
	"a rule without its group":             {head + `{"kind":"rule","body":{"id":"r","group":"nobody","direction":"ingress","ether_type":4,"port_min":-1,"port_max":-1}}` + "\n" + last, 2, "group nobody"},
	"a rule of no group":                   {ruleLine(`"id":"r","direction":"ingress","ether_type":4,"port_min":-1,"port_max":-1`), 3, "no id"},
	"rules inside a group":                 {head + `{"kind":"group","body":{"id":"g","rules":[{"id":"r"}]}}` + "\n" + last, 2, "lines of their own"},
	"an object twice":                      {head + grp + grp + last, 3, "group g is there twice"},
	"one rule in two groups":               {head + grp + strings.Replace(grp, `"g"`, `"h"`, 1) + `{"kind":"rule","body":{"id":"r","group":"g","direction":"ingress","ether_type":4,"port_min":-1,"port_max":-1}}` + "\n" + `{"kind":"rule","body":{"id":"r","group":"h","direction":"ingress","ether_type":4,"port_min":-1,"port_max":-1}}` + "\n" + last, 5, "rule r is there twice"},
	"people unannounced":                   {head + `{"kind":"user","body":{"id":"u","mail":"a@b.example"}}` + "\n" + last, 2, "there are no people"},
	"an id with a space":                   {head + `{"kind":"server","body":{"id":"a b\n","status":"ACTIVE"}}` + "\n" + last, 2, "no id"},
	"a server without a status":            {head + `{"kind":"server","body":{"id":"s"}}` + "\n" + last, 2, "status"},
	"an address that is none":              {head + `{"kind":"port","body":{"id":"p","fixed_ips":[{"subnet":"s","addr":"300.1.1.1"}]}}` + "\n" + last, 2, "port"},
	"an address with a zone":               {head + `{"kind":"port","body":{"id":"p","fixed_ips":[{"subnet":"s","addr":"fe80::1%eth0"}]}}` + "\n" + last, 2, "no plain address"},
	"an address within another":            {head + `{"kind":"floating_ip","body":{"id":"p","addr":"::ffff:203.0.113.5"}}` + "\n" + last, 2, "no plain address"},
	"no address":                           {head + `{"kind":"floating_ip","body":{"id":"p","addr":""}}` + "\n" + last, 2, "missing"},
	"escaped text that is none":            {head + `{"kind":"project","body":{"id":"p","name":"a\\q"}}` + "\n" + last, 2, "lone backslash"},
	"nested deep":                          {head + `{"kind":"project","body":{"id":"p","tags":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + "}}\n" + last, 2, "too deep"},
	"nested very deep":                     {head + strings.Repeat(`{"body":`, 100_000) + "\n" + last, 2, "no JSON object"},
	"a key twice by an old letter":         {ruleLine(`"id":"r","group":"g","direction":"ingress","ether_type":4,"protocol":"tcp","port_min":22,"port_max":22,"remote_address_group":"a","remote_addreſſ_group":"b"`), 3, "twice"},
	"a key twice among many":               {head + `{"kind":"server","body":{"id":"s","status":"ACTIVE","metadata":{` + manyKeys(20) + `"k7":""}}}` + "\n" + last, 2, `the key "k7" is there twice`},
	"a long line":                          {head + `{"kind":"project","body":{"id":"p","name":"` + strings.Repeat("x", lines.MaxLine) + `"}}` + "\n" + last, 2, "longer than"},
	"two objects in a line":                {head + strings.TrimSpace(grp) + strings.TrimSpace(grp) + "\n" + last, 2, "behind the object"},
	"a firewall rule without action":       {firewallLine(`"ether_type":4,"port_min":-1,"port_max":-1`), 2, `firewall: ingress[1].action is ""`},
	"a firewall rule of another action":    {firewallLine(`"action":"Allow","ether_type":4,"port_min":-1,"port_max":-1`), 2, `ingress[1].action is "Allow"`},
	"a firewall rule of no family":         {firewallLine(`"action":"deny","port_min":-1,"port_max":-1`), 2, "ingress[1].ether_type is 0"},
	"a firewall rule of another protocol":  {firewallLine(`"action":"deny","protocol":"tpc","ether_type":4,"port_min":-1,"port_max":-1`), 2, `ingress[1].protocol is "tpc"`},
	"a firewall rule whose ports are left": {firewallLine(`"action":"deny","protocol":"tcp","ether_type":4`), 2, "ingress[1].port_min is 0"},
	"a firewall rule that ends early":      {firewallLine(`"action":"deny","protocol":"tcp","ether_type":4,"port_min":90,"port_max":80`), 2, "ingress[1].port_max is 80"},
	"a firewall rule beyond all ports":     {firewallLine(`"action":"deny","protocol":"tcp","ether_type":4,"port_min":90,"port_max":65536`), 2, "ingress[1].port_max is 65536"},
	"a firewall rule with one end":         {firewallLine(`"action":"deny","protocol":"tcp","ether_type":4,"port_min":-1,"port_max":80`), 2, "ingress[1].port_min is -1"},
	"a firewall rule of ICMP with ports":   {firewallLine(`"action":"deny","protocol":"icmp","ether_type":4,"port_min":8,"port_max":8`), 2, "ingress[1].port_min is 8"},
	"a firewall rule of all with ports":    {firewallLine(`"action":"deny","ether_type":4,"port_min":8,"port_max":8`), 2, "ingress[1].port_min is 8, and any protocol has no ports"},
	"a firewall rule of GRE with ports":    {firewallLine(`"action":"deny","protocol":"47","ether_type":4,"port_min":8,"port_max":8`), 2, "ingress[1].port_min is 8, and 47 has no ports"},
	"a firewall rule from another family":  {firewallLine(`"action":"deny","ether_type":4,"port_min":-1,"port_max":-1,"source":"2001:db8::/32"`), 2, "ingress[1].source: 2001:db8::/32 is not of ether type 4"},
	"a firewall rule to another family":    {firewallLine(`"action":"deny","ether_type":6,"port_min":-1,"port_max":-1,"destination":"192.0.2.0/24"`), 2, "ingress[1].destination: 192.0.2.0/24 is not of ether type 6"},
	"a firewall rule to a prefix within":   {firewallLine(`"action":"deny","ether_type":6,"port_min":-1,"port_max":-1,"destination":"::ffff:192.0.2.0/120"`), 2, "ingress[1].destination: ::ffff:192.0.2.0/120 is no plain prefix"},
	"a forwarding without protocol":        {forwardingLine(`"port":"p","external":80,"internal":80,"internal_addr":"10.0.0.5"`), 2, `floating_ip: forwardings[0].protocol is ""`},
	"a forwarding of any protocol":         {forwardingLine(`"protocol":"any","port":"p","external":80,"internal":80,"internal_addr":"10.0.0.5"`), 2, `forwardings[0].protocol is "any"`},
	"a forwarding by number":               {forwardingLine(`"protocol":"6","port":"p","external":80,"internal":80,"internal_addr":"10.0.0.5"`), 2, `forwardings[0].protocol is "6"`},
	"a forwarding to nobody":               {forwardingLine(`"protocol":"tcp","external":80,"internal":80,"internal_addr":"10.0.0.5"`), 2, "forwardings[0].port is missing"},
	"a forwarding of port 0":               {forwardingLine(`"protocol":"tcp","port":"p","external":0,"internal":80,"internal_addr":"10.0.0.5"`), 2, "forwardings[0].external is missing"},
	"a forwarding to port 0":               {forwardingLine(`"protocol":"tcp","port":"p","external":80,"internal_addr":"10.0.0.5"`), 2, "forwardings[0].internal is missing"},
	"a forwarding beyond all ports":        {forwardingLine(`"protocol":"tcp","port":"p","external":65536,"internal":80,"internal_addr":"10.0.0.5"`), 2, "can not be: number 65536"},
	"a forwarding that ends early":         {forwardingLine(`"protocol":"tcp","port":"p","external":80,"external_last":79,"internal":80,"internal_addr":"10.0.0.5"`), 2, "forwardings[0].external_last is 79"},
	"a forwarding that ends early inside":  {forwardingLine(`"protocol":"tcp","port":"p","external":80,"internal":80,"internal_last":79,"internal_addr":"10.0.0.5"`), 2, "forwardings[0].internal_last is 79"},
	"a forwarding of unequal runs":         {forwardingLine(`"protocol":"tcp","port":"p","external":80,"external_last":82,"internal":80,"internal_last":81,"internal_addr":"10.0.0.5"`), 2, "forwardings[0].internal_last"},
	"a forwarding to another family":       {forwardingLine(`"protocol":"tcp","port":"p","external":80,"internal":80,"internal_addr":"2001:db8::5"`), 2, "forwardings[0].internal_addr: 2001:db8::5 is of another family"},
	"a forwarding to no address":           {forwardingLine(`"protocol":"tcp","port":"p","external":80,"internal":80`), 2, "forwardings[0].internal_addr: an address is missing"},
	"a floating IP of two families":        {head + `{"kind":"floating_ip","body":{"id":"f","addr":"203.0.113.5","fixed":"2001:db8::5"}}` + "\n" + last, 2, "fixed: 2001:db8::5"},
	"a trunk on no port":                   {trunkLines(`"sub_ports":["a"]`, "a"), 2, "trunk: port is missing"},
	"a trunk on a port that is not there":  {trunkLines(`"port":"a","sub_ports":["b"]`, "b"), 2, "trunk: port: the inventory has no port a"},
	"a trunk of a port that is not there":  {trunkLines(`"port":"a","sub_ports":["a2","b"]`, "a", "a2"), 2, "trunk: sub_ports: the inventory has no port b"},
	"a trunk that carries itself":          {trunkLines(`"port":"a","sub_ports":["a"]`, "a"), 2, "trunk: sub_ports: a is the trunk's own port"},
	"two byte order marks":                 {"\ufeff\ufeff" + head + last, 1, "no inventory"},
	"a byte order mark in the middle":      {head + "\ufeff" + last, 2, "no JSON object"},
	"UTF-16":                               {"\xff\xfe{\x00", 0, "the file is UTF-16"},
}

// An editor on Windows puts a byte order mark in front, and ends lines with CR LF.
func TestFileFromAnEditorOnWindows(t *testing.T) {
	t.Parallel()
	text := "\ufeff" + strings.ReplaceAll(head+last, "\n", "\r\n")
	if s, _, err := lines.Read("inv.jsonl", strings.NewReader(text)); err != nil || s.Cloud == "" {
		t.Error(err)
	}
}

func TestHostileFilesAreRefusedAtTheirLine(t *testing.T) {
	t.Parallel()
	for name, c := range hostile {
		s, _, err := lines.Read("inv.jsonl", strings.NewReader(c.text))
		f, ok := fault.Of(err)
		if !ok || s != nil || f.Code != fault.Config || f.At.File != "inv.jsonl" || f.At.Line != c.line || !strings.Contains(f.Message+f.Hint, c.says) {
			t.Errorf("%s: %v, want line %d and %q", name, err, c.line, c.says)
		}
	}
}

func TestWhatIsReadNoFurtherIsNotTheFilesFault(t *testing.T) {
	t.Parallel()
	_, _, err := lines.Read("x", io.MultiReader(strings.NewReader(head), badReader{}))
	if !fault.Is(err, fault.CannotLook) {
		t.Error(err)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

func FuzzRead(f *testing.F) {
	f.Add(write(f, full(), true))
	f.Add(write(f, full(), false))
	for _, c := range hostile {
		if len(c.text) < 10_000 {
			f.Add(c.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, people, err := lines.Read("x", strings.NewReader(text))
		if err != nil {
			if _, told := fault.Of(err); !told {
				t.Fatalf("not told as a fault: %v", err)
			}
			return
		}
		asset.NewIndex(&asset.Snapshot{Ports: slices.Clone(s.Ports), Servers: s.Servers, Trunks: s.Trunks, FloatingIPs: s.FloatingIPs}).Holders()
		once := write(t, s, people)
		again, _, err := lines.Read("x", strings.NewReader(once))
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, once)
		}
		if twice := write(t, again, people); twice != once {
			t.Fatalf("written once\n%s\ntwice\n%s", once, twice)
		}
	})
}
