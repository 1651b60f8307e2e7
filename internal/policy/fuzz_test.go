package policy

import (
	"testing"

	"demarc/internal/fault"
)

// FuzzPolicy reads a policy with its profiles. One that is read can be used, and any other is a fault with its place.
func FuzzPolicy(f *testing.F) {
	f.Add(DefaultYAML())
	f.Add([]byte("version: 1\nprofiles: {web: {title: x, allow: [{ports: [443, 8000-8010], from: [internet]}]}}\nprofile_of: [{profile: web, servers: [a]}]\n"))
	f.Add([]byte("classes: {E: {internet: 1d, institution: 99999999999d, grace: -1h, end: stop}}\n"))
	f.Add([]byte("\ufefftime_zone: ../../etc/passwd\nsweep_every: 1e9h\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("policy.yaml", data)
		if err != nil {
			if f, ok := fault.Of(err); !ok || f.Code != fault.Config && f.Code != fault.Refused || f.At.File != "policy.yaml" {
				t.Fatalf("%#v", err)
			}
			return
		}
		if err := p.Validate(); err != nil || p.Location() == nil || p.Sweep <= 0 || p.Refresh <= 0 {
			t.Fatalf("%v: %+v", err, p)
		}
		for _, name := range ClassNames {
			if k := p.Classes[name]; k.Internet < 0 || k.Grace < 0 || k.Internet.Micros() < 0 {
				t.Fatalf("%s: %+v", name, k)
			}
		}
		for name, k := range p.Profiles {
			for _, a := range k.Allow {
				usable(t, name, a)
			}
		}
		for _, d := range p.ProfileOf {
			if _, ok := p.Profiles[d.Profile]; !ok || (d.Server == "") == (d.Project == "") {
				t.Fatalf("%+v", d)
			}
		}
	})
}

// usable fails for what a profile allows where it names no ports of a protocol or nobody.
func usable(t *testing.T, name string, a Allowed) {
	t.Helper()
	for _, r := range a.Ports {
		if r.First == 0 || r.First > r.Last {
			t.Fatalf("%s allows %+v", name, r)
		}
		var again PortRange
		if err := again.UnmarshalYAML([]byte(r.String())); err != nil || again != r {
			t.Fatalf("%s allows %s, which is read as %s, %v", name, r, again, err)
		}
	}
	for _, from := range a.From {
		ps, f := FromPrefixes(from, nil)
		if f != nil || len(ps) == 0 && from != FromInstitution {
			t.Fatalf("%s allows %q: %v, %v", name, from, ps, f)
		}
	}
}
