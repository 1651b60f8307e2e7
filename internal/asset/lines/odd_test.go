package lines_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/asset/lines"
)

// What a reader would refuse is left out by name, and the file is read and says that it lacks something.
func TestWhatCouldNotBeReadIsLeftOutAndTold(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		bend func(*asset.Snapshot)
		says string
		gone string // a text of the line that is not there
	}{
		"a rule":          {func(s *asset.Snapshot) { r := &s.Groups[0].Rules[0]; r.PortMin, r.PortMax = 0, 0 }, "group: g1 of project p1 is left out: rule r1: ports 0 to 0 are none of tcp", `"group":"g1"`},
		"a role":          {func(s *asset.Snapshot) { s.Grants[0].Role = "a\u202eb" }, `grant: u1 p1 a%E2%80%AEb of project p1 is left out: role "a\u202eb"`, `"kind":"grant"`},
		"a server":        {func(s *asset.Snapshot) { s.Servers[0].Status = "" }, "server: s1 of project p1 is left out: a server needs a status", `"kind":"server"`},
		"an id":           {func(s *asset.Snapshot) { s.Users[0].ID = "a\nb" }, `user: a`, `"kind":"user"`},
		"a long one":      {func(s *asset.Snapshot) { s.AddressSets[0].Prefixes = many(80_000) }, "address_set: set1 of project p1 is left out: it has", `"kind":"address_set"`},
		"a default rule":  {func(s *asset.Snapshot) { s.DefaultRules[0].Protocol = "" }, "default_rule: d1 is left out: ports 22 to 80", `"kind":"default_rule"`},
		"a port of a way": {func(s *asset.Snapshot) { s.Ports[1].FixedIPs = []asset.FixedIP{{}} }, "port: po2 of project p1 is left out: an address is missing", `"body":{"id":"po2"`},
	} {
		s := full()
		tc.bend(s)
		var b bytes.Buffer
		left, err := lines.Write(&b, s, true)
		if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Kind+": "+left[0].Reason, tc.says) {
			t.Errorf("%s: %v, %v", name, left, err)
		}
		got, _, err := lines.Read("x", bytes.NewReader(b.Bytes()))
		if err != nil || got.Complete() || strings.Contains(b.String(), tc.gone) {
			t.Errorf("%s: %v, complete: %v, in\n%.2000s", name, err, err != nil || got.Complete(), b.String())
		}
	}
}

func many(n int) []netip.Prefix {
	out := make([]netip.Prefix, n)
	for i := range out {
		out[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	return out
}

// However many there are, some are named and all are counted.
func TestManyThatAreLeftOutAreCounted(t *testing.T) {
	t.Parallel()
	s := &asset.Snapshot{Cloud: "lab"}
	for i := range 100 {
		s.Servers = append(s.Servers, asset.Server{ID: asset.ServerID(fmt.Sprint("s", i))})
	}
	left, err := lines.Write(&bytes.Buffer{}, s, false)
	if err != nil || len(left) != 21 || left[20] != (asset.Gap{Kind: "server", Reason: "80 more are left out"}) {
		t.Errorf("%v %v", left, err)
	}
}

// A kind of objects that is added to a snapshot is written.
func TestEveryKindHasLines(t *testing.T) {
	t.Parallel()
	for _, k := range asset.Kinds() {
		if !slices.Contains(lines.Kinds(), strings.TrimSuffix(k, "s")) {
			t.Errorf("%s are not written", k)
		}
	}
	if len(lines.Kinds()) != len(asset.Kinds())+1 { // rules stand apart from their groups
		t.Errorf("%v of %v", lines.Kinds(), asset.Kinds())
	}
}

// A role is called as the operator likes, and is nobody's reason for an export that lacks something.
func TestARoleHasAnyName(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"Müller", "cloud admin", "管理者", "a%20b", "a/b"} {
		s := full()
		s.Grants = append(s.Grants, asset.Grant{User: "u1", Project: "p1", Role: role})
		got, _, err := lines.Read("x", strings.NewReader(write(t, s, true)))
		if err != nil || len(got.Grants) != 2 || got.Grants[0].Role != role && got.Grants[1].Role != role {
			t.Errorf("%s: %v", role, err)
		}
	}
}
