package openstack

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/asset"
)

// rule reads one security group rule as Neutron writes it, with some of its fields altered.
func rule(change string) (asset.Rule, error) {
	doc := map[string]json.RawMessage{}
	for _, text := range []string{`{"id":"r","direction":"ingress","ethertype":"IPv4","protocol":"tcp","port_range_min":22,"port_range_max":22,"remote_ip_prefix":"192.0.2.0/24","remote_group_id":null}`, change} {
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			panic(err)
		}
	}
	b, _ := json.Marshal(doc)
	var r row[wireRule]
	if err := json.Unmarshal(b, &r); err != nil || r.odd != nil {
		return asset.Rule{}, r.odd
	}
	return r.value.asset()
}

// What Neutron writes is read; what it never writes is not guessed at.
func TestRulesAreUnderstoodOrRefused(t *testing.T) {
	for change, want := range map[string]string{
		`{}`:                     "tcp 22-22 192.0.2.0/24",
		`{"direction":"EGRESS"}`: "tcp 22-22 192.0.2.0/24",
		`{"protocol":null,"port_range_min":null,"port_range_max":null}`:  " -1--1 192.0.2.0/24",
		`{"protocol":"any","port_range_min":null,"port_range_max":null}`: " -1--1 192.0.2.0/24",
		`{"protocol":6}`:    "6 22-22 192.0.2.0/24",
		`{"protocol":"17"}`: "17 22-22 192.0.2.0/24",
		`{"protocol":"icmp","port_range_min":8,"port_range_max":null}`:    "icmp 8--1 192.0.2.0/24",
		`{"protocol":"icmp","port_range_min":255,"port_range_max":0}`:     "icmp 255-0 192.0.2.0/24",
		`{"protocol":"vrrp","port_range_min":null,"port_range_max":null}`: "vrrp -1--1 192.0.2.0/24",
		`{"remote_ip_prefix":"192.0.2.77/24"}`:                            "tcp 22-22 192.0.2.0/24",
		`{"remote_ip_prefix":"192.0.2.77"}`:                               "tcp 22-22 192.0.2.77/32",
		`{"remote_ip_prefix":null}`:                                       "tcp 22-22 invalid Prefix",
		`{"ethertype":"ipv6","remote_ip_prefix":"2001:db8::/32"}`:         "tcp 22-22 2001:db8::/32",
		`{"protocol":"sctp"}`:                                             "sctp 22-22 192.0.2.0/24",
		`{"port_range_min":0,"port_range_max":65535}`:                     "",
		`{"port_range_min":0,"port_range_max":0}`:                         "",
		`{"port_range_min":1,"port_range_max":65536}`:                     "",
		`{"port_range_min":-5,"port_range_max":22}`:                       "",
		`{"port_range_min":-1,"port_range_max":-1}`:                       "",
		`{"port_range_min":23}`:                                           "",
		`{"port_range_min":null}`:                                         "",
		`{"port_range_max":null}`:                                         "",
		`{"port_range_min":"22"}`:                                         "",
		`{"port_range_min":22.5}`:                                         "",
		`{"port_range_max":99999999999999999999}`:                         "",
		`{"protocol":null}`:                                               "",
		`{"protocol":"icmp","port_range_min":300,"port_range_max":null}`:  "",
		`{"protocol":"icmp","port_range_min":8,"port_range_max":256}`:     "",
		`{"protocol":"icmp","port_range_min":null,"port_range_max":0}`:    "",
		`{"protocol":"gre"}`:                                              "",
		`{"protocol":"256"}`:                                              "",
		`{"protocol":"-1"}`:                                               "",
		`{"protocol":"\u001b[31mtcp"}`:                                    "",
		`{"protocol":["tcp"]}`:                                            "",
		`{"protocol":""}`:                                                 "",
		`{"direction":"sideways"}`:                                        "",
		`{"direction":null}`:                                              "",
		`{"ethertype":"IPv5"}`:                                            "",
		`{"ethertype":null}`:                                              "",
		`{"remote_ip_prefix":"192.0.2.0/33"}`:                             "",
		`{"remote_ip_prefix":"everywhere"}`:                               "",
		`{"remote_ip_prefix":""}`:                                         "",
		`{"remote_ip_prefix":0}`:                                          "",
		`{"remote_ip_prefix":"fe80::1%eth0"}`:                             "",
		`{"remote_ip_prefix":"2001:db8::/32"}`:                            "",
		`{"ethertype":"IPv6"}`:                                            "",
	} {
		r, err := rule(change)
		got := ""
		if err == nil {
			got = r.Protocol + " " + itoa(r.PortMin) + "-" + itoa(r.PortMax) + " " + r.RemotePrefix.String()
		}
		if got != want {
			t.Errorf("%s: %q %v, want %q", change, got, err, want)
		}
		if err != nil && strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%s: the error is not fit for a terminal: %q", change, err)
		}
	}
}

// FuzzRows reads rows of every kind as a stranger might write them. What is taken has only values that mean something.
func FuzzRows(f *testing.F) {
	for _, s := range []string{`{"id":"r","direction":"ingress","ethertype":"IPv4","protocol":"tcp","port_range_min":22,"port_range_max":22}`, `{"id":1}`, `null`, `{"id":"f","external_port_range":"1:9","internal_port":1,"protocol":"udp","internal_port_id":"p","internal_ip_address":"::1"}`,
		`{"id":"g","security_group_rules":[{"direction":"egress","ethertype":"IPv6","protocol":58,"port_range_min":1}]}`, `{"id":"w","enabled":true,"action":"Allow","ip_version":4,"destination_port":"1:2"}`, `{"id":"l","protocol":"tcp","protocol_port":1,"admin_state_up":true,"allowed_cidrs":["::/0"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := read(b, wireRule.asset); err == nil {
			sound(t, r)
		}
		if g, err := read(b, wireGroup.asset); err == nil {
			for _, r := range g.Rules {
				sound(t, r)
			}
		}
		if w, err := read(b, wireForward.asset); err == nil && (w.External == 0 || w.Internal == 0 || !w.InternalAddr.IsValid() || w.ExternalLast != 0 && w.ExternalLast <= w.External) {
			t.Errorf("forwarding %+v", w)
		}
		if w, err := read(b, func(w wireFirewallRule) (asset.FirewallRule, error) { r, _, err := w.asset(); return r, err }); err == nil && (w.PortMin > w.PortMax || w.PortMax > 65535 || w.EtherType != 4 && w.EtherType != 6) {
			t.Errorf("firewall rule %+v", w)
		}
		if l, err := read(b, wireListener.asset); err == nil && l.Port == 0 {
			t.Errorf("listener %+v", l)
		}
		if n, err := read(b, wireSubnet.asset); err == nil && !n.CIDR.IsValid() {
			t.Errorf("subnet %+v", n)
		}
		if p, err := read(b, wirePort.asset); err == nil {
			for _, x := range p.FixedIPs {
				if !x.Addr.IsValid() {
					t.Errorf("port %+v", p)
				}
			}
		}
		_, _ = read(b, wireServer.asset)
		_, _ = read(b, wireRouter.asset)
		_, _ = read(b, wireFloating.asset)
		_, _ = read(b, wireTrunk.asset)
		_, _ = read(b, wireBalancer.asset)
	})
}

func read[W, A any](b []byte, to func(W) (A, error)) (A, error) {
	var r row[W]
	if err := json.Unmarshal(b, &r); err != nil || r.odd != nil {
		var none A
		return none, errNotProven
	}
	return to(r.value)
}

func sound(t *testing.T, r asset.Rule) {
	t.Helper()
	ported := r.PortMin != asset.AnyPort
	if r.Direction != asset.Ingress && r.Direction != asset.Egress || r.EtherType != 4 && r.EtherType != 6 || r.PortMin < asset.AnyPort || r.PortMax < asset.AnyPort || r.PortMin > 65535 || r.PortMax > 65535 ||
		ported && r.Protocol == "" || r.RemotePrefix.IsValid() && r.RemotePrefix != r.RemotePrefix.Masked() {
		t.Errorf("rule %+v", r)
	}
}

// Retry-After is in seconds, or a date by the service's own clock.
func TestRetryAfterIsByTheServicesClock(t *testing.T) {
	said := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		status int
		header http.Header
		want   time.Duration
		again  bool
	}{
		"seconds":             {429, http.Header{"Retry-After": {"7"}}, 7 * time.Second, true},
		"a date":              {429, http.Header{"Retry-After": {said.Add(9 * time.Second).Format(http.TimeFormat)}, "Date": {said.Format(http.TimeFormat)}}, 9 * time.Second, true},
		"a date that is over": {503, http.Header{"Retry-After": {said.Add(-time.Hour).Format(http.TimeFormat)}, "Date": {said.Format(http.TimeFormat)}}, 0, true},
		"nonsense":            {503, http.Header{"Retry-After": {"later"}}, 200 * time.Millisecond, true},
		"minus":               {503, http.Header{"Retry-After": {"-3"}}, 200 * time.Millisecond, true},
		"none":                {500, http.Header{}, 200 * time.Millisecond, true},
		"403":                 {403, http.Header{"Retry-After": {"7"}}, 0, false},
	} {
		wait, again := retryAfter(gophercloud.ErrUnexpectedResponseCode{Actual: tc.status, ResponseHeader: tc.header}, 0)
		if wait != tc.want || again != tc.again {
			t.Errorf("%s: %s %v", name, wait, again)
		}
	}
}

// An image says its profile by either of two keys, in small letters or capitals; nothing else is one.
func TestHowAnImageSaysItsProfile(t *testing.T) {
	for body, want := range map[string]string{
		`{"demarc_profile": "web"}`:                               "web",
		`{"demarc:profile": "web"}`:                               "web",
		`{"demarc:profile": "web", "demarc_profile": "database"}`: "database",
		`{"demarc_profile": "", "demarc:profile": "web"}`:         "web",
		`{"DEMARC_PROFILE": "web"}`:                               "web",
		`{"Demarc:Profile": "Web"}`:                               "Web",
		`{"demarc-profile": "web", "profile": "web", "hw_demarc_profile": "web", "demarc_profile_": "web"}`: "",
	} {
		var w wireImage
		if err := json.Unmarshal([]byte(body), &w); err != nil {
			t.Fatal(err)
		}
		if got := w.asset().Profile.Raw(); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}
