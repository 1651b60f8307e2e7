package openstack_test

import (
	"fmt"
	"testing"
)

// What a tenant writes into a port of his, where the machine's id belongs, keeps no reading partial: neither a word that is another path
// of Nova's, nor more machines that are not there than a reading may ask for.
func TestATenantsWordsKeepNoReadingPartial(t *testing.T) {
	missing := make([]string, 300)
	for i := range missing {
		missing[i] = fmt.Sprintf("0badcafe-0000-4000-8000-%012d", i)
	}
	for name, devices := range map[string][]string{"another path": {"detail"}, "a way up": {"../../os-hypervisors"}, "a question": {"x?all_tenants=1"}, "machines that are not there": missing} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			before := len(b.snap(t).Ports)
			for _, d := range devices {
				b.TenantWrites("astro", d)
			}
			s := b.snap(t)
			if !s.Complete() || len(s.Ports) != before+len(devices) {
				t.Errorf("%d ports, gaps %v", len(s.Ports)-before, s.Gaps)
			}
		})
	}
}
