package reach

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/probe"
)

// Who lets others in and our probe not is told the rule to add; with it, our probe gets in, and nothing else changes.
func TestTheRuleToAddLetsOurProbeIn(t *testing.T) {
	told := 0
	for n := range 2000 {
		rng := rand.New(rand.NewPCG(9, uint64(n))) //nolint:gosec // a drawing, not a secret
		s := drawn(rng)
		set := Compute(asset.NewIndex(s), bruteView)
		for _, h := range set.Hidden() {
			e := probe.Endpoint{Addr: h.Addr, Proto: h.Proto, Port: h.First}
			if a := set.Lookup(e); a.Scanner || !a.Zone || len(a.Doubts) > 0 {
				t.Fatalf("drawing %d: %v is hidden, and the answer is %+v", n, h.Range, a)
			}
			told++
			c := copied(s)
			for i := range c.Groups {
				if g := &c.Groups[i]; g.ID == h.Group && !g.Stateless {
					for j, r := range h.Add {
						r.ID = asset.RuleID(fmt.Sprint("add-", j))
						g.Rules = append(g.Rules, r)
					}
				} else if g.ID == h.Group {
					h.Add = nil // the answer's way out may be shut: the rule alone does not do
				}
			}
			if len(h.Add) > 0 {
				if a := Compute(asset.NewIndex(c), bruteView).Lookup(e); !a.Scanner || !a.Zone {
					t.Fatalf("drawing %d: with %+v, %v is %+v", n, h.Add, h.Range, a)
				}
			}
		}
	}
	if told < 300 {
		t.Errorf("only %d are hidden: the drawing asks nothing", told)
	}
}

// Everybody but us is another thing than a limited range.
func TestWhoHidesIsToldFromWhoIsCareful(t *testing.T) {
	for name, c := range map[string]struct {
		remotes []string
		most    bool
		hidden  int
	}{
		"a limited range":        {[]string{"192.0.2.0/24"}, false, 1},
		"two of them":            {[]string{"192.0.2.0/24", "203.0.113.0/24"}, false, 1},
		"everybody but us":       {[]string{"0.0.0.0/1", "128.0.0.0/2", "224.0.0.0/3", "208.0.0.0/4"}, true, 1},
		"our address as well":    {[]string{"192.0.2.0/24", "198.51.100.10/32"}, false, 0},
		"everybody":              {[]string{"0.0.0.0/0"}, false, 0},
		"a range of the private": {[]string{"10.0.0.0/8"}, false, 0},
	} {
		s := bed()
		for i, r := range c.remotes {
			s.Groups[0].Rules = append(s.Groups[0].Rules, rule(fmt.Sprint(i), "tcp", 22, 22, r))
		}
		set := Compute(asset.NewIndex(s), view)
		hs := set.Hidden()
		if len(hs) != c.hidden || set.MostOf(hs) != c.most {
			t.Errorf("%s: %d hidden, most %v: %+v", name, len(hs), set.MostOf(hs), hs)
		}
		for _, h := range hs {
			if len(h.Add) != 1 || h.Add[0].RemotePrefix != netip.PrefixFrom(scanner, 32) || h.Add[0].PortMin != 22 || h.Add[0].PortMax != 22 || h.Add[0].Group != "g1" || !slices.Contains([]asset.RuleID{"0", "1", "2", "3"}, h.Rule) {
				t.Errorf("%s: %+v", name, h)
			}
		}
	}
}
