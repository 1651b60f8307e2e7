package demarc_test

import (
	"slices"
	"testing"

	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/flow"
)

// Whatever is found is explained by a duty that speaks of that side of the stack, for that kind of resource, and that names the
// check. What the kind does not have is nobody's duty.
func TestEveryFindingHasItsDuty(t *testing.T) {
	m, err := duty.Default()
	if err != nil {
		t.Fatal(err)
	}
	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	type side struct {
		check  string
		layer  duty.Layer
		aspect duty.Aspect
	}
	sides := []side{{flow.CheckLeak, "network-controls", "provide-capability"}, {flow.CheckLeak, "network-controls", "configure"}, {flow.CheckBlocked, "assurance", "configure"}, {flow.CheckHidden, "assurance", "configure"},
		{flow.CheckDefault, "network-controls", "configure"}, {flow.CheckProfile, "network-controls", "configure"}, {flow.CheckTemplate, "network-controls", "secure-default"},
		{flow.CheckNetblock, "assurance", "monitor"}}
	for i := range checks {
		sides = append(sides, side{checks[i].ID, duty.Layer(checks[i].Layer), duty.Aspect(checks[i].Aspect)})
	}
	for _, s := range sides {
		for _, kind := range m.Kinds() {
			r := m.Resolve(s.layer, s.aspect, kind)
			if r.Ownership == duty.NotApplicable {
				continue
			}
			d, ok := m.Duty(r.Duty)
			if !ok || !slices.Contains(d.Layers(), s.layer) || !slices.Contains(d.Aspects, s.aspect) || !slices.Contains(d.Checks, s.check) {
				t.Errorf("%s (%s/%s) on %s is explained by duty %q, which speaks of %v %v and names %v", s.check, s.layer, s.aspect, kind.Kind(), r.Duty, d.Layers(), d.Aspects, d.Checks)
			}
		}
	}
}
