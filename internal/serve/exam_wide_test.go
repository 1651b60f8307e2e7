package serve_test

import (
	"slices"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
)

// A server that is switched off is as open as it will be when it is on: that it is off fixes nothing.
func TestAWideOpeningIsNotFixedByTheSwitch(t *testing.T) {
	t.Parallel()
	e := open(t, held("wide-opening"))
	e.add("cache", all)
	e.until("open", 2, func() bool { return len(e.settingsOf("wide-opening")) > 0 })
	e.must(e.w.StopServer("cache-1"))
	e.after(4 * day)
	if f := e.shortfall("wide-opening"); f.State != finding.Open {
		t.Errorf("the server is off, and the finding is %s", f.State)
	}
	e.w.TenantPortSecurity(e.w.PortIDs("cache-1")[0], false)
	e.after(4 * day)
	fs := e.settingsOf("wide-opening")
	if len(fs) != 2 || !slices.ContainsFunc(fs, func(f finding.Finding) bool {
		return f.Key.Locus == "port security" && f.State == finding.Open && f.Project == fs[0].Project
	}) {
		t.Errorf("without port security: %+v", fs)
	}
	e.untouched()
	e.noErrors()
}

// A group that another project shares opens the weakness of a server. Its owner cannot change the group and is told to take it off the port;
// the project that owns the group is told of the group and the rule, and of nothing of the other project. The claim stands as long as the rule
// does.
func TestAGroupOfAnotherProjectIsItsOwnersToChange(t *testing.T) {
	t.Parallel()
	s := town()
	s.Groups = append(slices.Clone(s.Groups), lab.Group{Name: "shared-cache", Project: "genomics", Rules: []lab.Rule{{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}}},
		lab.Group{Name: "shut", Project: "astro"})
	s.Servers[0].NICs[0].Groups = []string{"shut"}
	e := open(t, plot{scenario: s, policy: []string{"inventory_every: 2d", "inventory_every: 1d", "posture: []", "posture: [shared-group-open]"}})
	e.must(e.w.ShareGroup("genomics", "shared-cache", true))
	port := e.w.PortIDs("cache-1")[0]
	e.w.TenantSharedGroup(port, "genomics", "shared-cache")
	e.until("notified", 4, e.inState("cache-1", casework.Notified))
	group := e.w.GroupID("genomics", "shared-cache")
	first := text(t, e.w.Mail.For(owner)[0])
	if !strings.Contains(first, "openstack port unset --security-group "+group+" "+port) || strings.Contains(first, "security group rule delete") {
		t.Errorf("the owner of the server is told\n%s", first)
	}
	e.after(3 * day)
	f := e.shortfall("shared-group-open")
	if said := evidence(f); f.State != finding.Open || !strings.Contains(said, group) || f.Key.Server != "" {
		t.Errorf("%s: %s", f.State, said)
	}
	said := ""
	for _, m := range e.w.Mail.Messages() {
		if strings.Contains(m.To, "genomics.example") {
			said += text(t, m)
		}
	}
	if !strings.Contains(said, group) {
		t.Errorf("the owner of the group is told\n%s", said)
	}
	sv := e.theCase("cache-1")
	for _, secret := range []string{"cache-1", "astro", string(sv.Server), string(sv.Project), port, "127.77.1.10", "edis", sv.Ref()} {
		if strings.Contains(said, secret) {
			t.Errorf("the owner of the group is told of %q:\n%s", secret, said)
		}
	}
	e.setPassword("cache-1")
	e.after(4 * day)
	if f := e.shortfall("shared-group-open"); f.State != finding.Open {
		t.Errorf("the rule is as it was, and the finding is %s", f.State)
	}
	e.must(e.w.TenantRemoveRule("genomics", "shared-cache", lab.Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: everywhere}))
	e.until("fixed", 4, func() bool { return e.shortfall("shared-group-open").State == finding.Fixed })
	e.noErrors()
}

// The rule that opens a weakness is the remedy of that weakness, and has no case of its own while that is open. Once the service is fixed and the
// rule is still beyond the profile, it has.
func TestARuleThatOpensAWeaknessHasNoCaseOfItsOwn(t *testing.T) {
	t.Parallel()
	p := held("exposure-profile")
	p.scenario.Servers[0].Services = []lab.Service{{Name: "redis", Kind: lab.Redis, Port: 6379}}
	p.scenario.Servers[0].Metadata = map[string]string{"demarc:profile": "web"}
	e := open(t, p)
	e.until("notified", 3, e.inState("cache-1", casework.Notified))
	e.after(3 * day)
	var rules []string
	for _, f := range e.settingsOf("exposure-profile") {
		rules = append(rules, f.Key.Locus)
	}
	if slices.ContainsFunc(rules, func(r string) bool { return strings.Contains(r, "6379") }) {
		t.Errorf("while the Redis is open, the rule that opens it is a finding too: %q", rules)
	}
	e.setPassword("cache-1")
	e.claim("cache-1")
	e.until("the rule is a finding", 4, func() bool {
		return slices.ContainsFunc(e.settingsOf("exposure-profile"), func(f finding.Finding) bool { return strings.Contains(f.Key.Locus, "6379") })
	})
	e.untouched()
	e.noErrors()
}
