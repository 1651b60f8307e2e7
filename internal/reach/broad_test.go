package reach

import (
	"fmt"
	"slices"
	"testing"

	"demarc/internal/asset"
)

// The rules of a port count together, over all its groups and both transports; named are the groups without which it would not be too much.
func TestBroadCountsTheUnionOfAPortsRules(t *testing.T) {
	t.Parallel()
	type rules map[asset.GroupID][]string // proto first last remote
	for name, c := range map[string]struct {
		rules    rules
		open     bool // port security is off
		want     int
		groups   []asset.GroupID
		together bool // none of them alone
	}{
		"everything":               {rules{"g1": {"tcp 1 65535 0.0.0.0/0"}}, false, 65535, []asset.GroupID{"g1"}, false},
		"as many as may be":        {rules{"g1": {"tcp 1 1024 0.0.0.0/0"}}, false, 0, nil, false},
		"one more, in two groups":  {rules{"g1": {"tcp 1 1024 0.0.0.0/0"}, "g2": {"tcp 1025 1025 0.0.0.0/0"}}, false, 1025, []asset.GroupID{"g1"}, true},
		"the same twice":           {rules{"g1": {"tcp 1 1024 0.0.0.0/0"}, "g2": {"tcp 1 1024 0.0.0.0/0"}}, false, 0, nil, false},
		"both transports":          {rules{"g1": {"tcp 1 600 0.0.0.0/0", "udp 1 600 0.0.0.0/0"}}, false, 1200, []asset.GroupID{"g1"}, false},
		"neither group alone":      {rules{"g1": {"tcp 1 600 0.0.0.0/0"}, "g2": {"tcp 601 1200 0.0.0.0/0"}}, false, 1200, []asset.GroupID{"g1"}, true},
		"two, each too much alone": {rules{"g1": {"tcp 1 2000 0.0.0.0/0"}, "g2": {"udp 1 2000 0.0.0.0/0"}}, false, 4000, []asset.GroupID{"g1", "g2"}, false},
		"a limited range":          {rules{"g1": {"tcp 1 65535 192.0.0.0/16"}}, false, 0, nil, false},
		"two halves of the world":  {rules{"g1": {"tcp 1 65535 0.0.0.0/1", "tcp 1 65535 128.0.0.0/1"}}, false, 65535, []asset.GroupID{"g1"}, false},
		"no port security":         {rules{}, true, 131070, nil, false},
	} {
		s := bed()
		s.Groups = append(s.Groups, asset.Group{ID: "g2", Project: s.Groups[0].Project})
		for i := range s.Ports {
			if p := &s.Ports[i]; slices.Contains(p.Groups, "g1") {
				p.Groups, p.PortSecurity = append(p.Groups, "g2"), !c.open
			}
		}
		for i := range s.Groups {
			g := &s.Groups[i]
			g.Rules = nil
			for n, text := range c.rules[g.ID] {
				var proto, remote string
				var first, last int
				if _, err := fmt.Sscan(text, &proto, &first, &last, &remote); err != nil {
					t.Fatal(err)
				}
				r := rule(fmt.Sprint(g.ID, n), proto, first, last, remote)
				r.Group = g.ID
				g.Rules = append(g.Rules, r)
			}
		}
		got := Compute(asset.NewIndex(s), view).Broad(Breadth{Most: 1024, Limited4: 16, Limited6: 32})
		if c.want == 0 && len(got) == 0 {
			continue
		}
		alone, together := c.groups, []asset.GroupID(nil)
		if c.together {
			alone, together = nil, c.groups
		}
		if len(got) == 0 || got[0].Ports != c.want || !slices.Equal(got[0].Groups, alone) || !slices.Equal(got[0].Together, together) || got[0].Open != c.open {
			t.Errorf("%s: %+v, want %d by %v", name, got, c.want, c.groups)
		}
	}
}
