package flow

import (
	"testing"

	"demarc/internal/policy"
)

// What is told and never acted on takes the class of the two that ends in a report, M before L, and no other.
func TestTheClassOfWhatIsOnlyTold(t *testing.T) {
	for _, c := range []struct {
		m, l policy.End
		want string
	}{
		{policy.Report, policy.Report, "M"}, {policy.Operator, policy.Report, "L"}, {policy.Report, policy.Stop, "M"}, {policy.Operator, policy.Quarantine, ""},
	} {
		p := &policy.Policy{Classes: map[string]policy.Class{"M": {End: c.m}, "L": {End: c.l}, "H": {End: policy.Report}}}
		if got := NoticeOnly(p); got != c.want {
			t.Errorf("M ends in %s, L in %s: %q", c.m, c.l, got)
		}
	}
}
