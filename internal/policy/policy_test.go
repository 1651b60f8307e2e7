package policy

import (
	"strings"
	"testing"
	"time"
)

func TestTheDefaultPolicyHoldsItsOwnRules(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if !p.DryRun {
		t.Error("the default policy must be a dry run")
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
