package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTheDefaultPolicyHoldsItsOwnRules(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if p.Mode.Known() != Observe {
		t.Errorf("the default policy is in the mode %s, want observe", p.Mode)
	}
	if got := time.Duration(p.Classes["E"].Internet); got != 4*24*time.Hour {
		t.Errorf("class E: %v to fix from the internet", got)
	}
}

func TestAPolicyThatBreaksARuleIsRefusedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":       {"version: 1", "version: 1\nbudgetz: 2", "bad.yaml:4:1"},
		"unknown class":     {"  U: {", "  Z: {", "class U has no clocks"},
		"short grace":       {"grace: 24h, end: quarantine", "grace: 1h, end: quarantine", "at least 24h"},
		"stale probe":       {"probe: 60m", "probe: 61m", "freshness.probe"},
		"quick proof":       {"fixed_gap: 30m", "fixed_gap: 5m", "proof.fixed_gap"},
		"not a time":        {"lift_gap: 10m", "lift_gap: soon", "not a length of time"},
		"zone":              {"time_zone: UTC", "time_zone: Mars/Olympus", "unknown time zone"},
		"share above one":   {"cloud_share_per_day: 0.02", "cloud_share_per_day: 2", "share is above 1"},
		"unknown end":       {"end: report", "end: delete", "unknown end"},
		"unknown notice":    {"notice: daily", "notice: hourly", "one of at_once, daily, weekly, monthly"},
		"time of digests":   {`at: "09:00"`, `at: "9 o'clock"`, "digests.at"},
		"day of digests":    {"day: 1}", "day: 31}", "from 1 to 28"},
		"weekday":           {"weekday: monday", "weekday: mondays", "digests.weekday"},
		"a key given twice": {"version: 1", "version: 1\nversion: 2", "bad.yaml:4:1"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(defaultPolicy), c.old, c.new, 1)
			_, err := Parse("bad.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	d, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(d.ProfileNames(), " "); got != "database gpu-notebook management web" {
		t.Error(got)
	}
	if ps, f := FromPrefixes(FromInstitution, []netip.Prefix{netip.MustParsePrefix("172.28.0.0/16"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}); f != nil || len(ps) != 1 {
		t.Errorf("everywhere is an institution: %v %v", ps, f)
	}
	text := string(DefaultYAML())
	base, _, _ := strings.Cut(text, "\nprofiles:")
	own, err := Parse("own.yaml", []byte(base+"\nprofiles:\n  web: {title: ours, allow: [{proto: tcp, ports: [8443, 9000-9010], from: [192.0.2.0/24]}]}\n  mail: {allow: [{proto: tcp, ports: [25], from: [internet]}]}\nprofile_of: [{server: s1, profile: mail}, {project: p1, profile: database}]\n"))
	if err != nil || len(own.Profiles) != 5 || own.Profiles["web"].Title != "ours" || own.Profiles["web"].Allow[0].Ports[1] != (PortRange{First: 9000, Last: 9010}) || len(d.Profiles) != 4 {
		t.Errorf("%v: %+v", err, own)
	}
	for says, bad := range map[string]string{
		`own.yaml:%d:28: "70000" is not a run`: "profiles: {x: {allow: [{proto: tcp, ports: [70000], from: [internet]}]}}",
		`"9-8" is not a run`:                   "profiles: {x: {allow: [{proto: tcp, ports: [9-8], from: [internet]}]}}",
		`icmp has none`:                        "profiles: {x: {allow: [{proto: icmp, ports: [8], from: [internet]}]}}",
		`tcp and udp have ports`:               "profiles: {x: {allow: [{proto: tcp, from: [internet]}]}}",
		`unknown protocol "sctp"`:              "profiles: {x: {allow: [{proto: sctp, ports: [8]}]}}",
		`"everybody" is nobody`:                "profiles: {x: {allow: [{proto: tcp, ports: [8], from: [everybody]}]}}",
		`"192.0.2.1/24" is nobody`:             "profiles: {x: {allow: [{proto: tcp, ports: [8], from: [192.0.2.1/24]}]}}",
		`"Web Server" can not be the name`:     "profiles: {Web Server: {allow: []}}",
		`there is no profile "moon"`:           "profile_of: [{server: s1, profile: moon}]",
		`for a server or for a project`:        "profile_of: [{server: s1, project: p1, profile: web}]",
		`two profiles are declared for s1`:     "profile_of: [{server: s1, profile: web}, {server: s1, profile: database}]",
		`unknown field "allows"`:               "profiles: {x: {allows: []}}",
	} {
		says, _, _ = strings.Cut(strings.ReplaceAll(says, "own.yaml:%d:28: ", ""), "%")
		if _, err := Parse("own.yaml", []byte(base+"\n"+bad+"\n")); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "own.yaml:") {
			t.Errorf("%s: %v, want %s", bad, err, says)
		}
	}
}
