package notice

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/probe"
)

// Item is one finding as a letter shows it.
type Item struct {
	Finding finding.Finding
	Zones   []probe.Zone // from which it is seen, where they are several
	Remedy  []string     // commands that close it, ready to paste
	Advice  string       // our own guidance, plain text
	Guides  []string     // addresses of the pages that say more; none where they are published nowhere
}

func describe(n int, it Item, l Letter) string {
	var b strings.Builder
	f := it.Finding
	fmt.Fprintf(&b, "%d. %s\n", n, one(f.Title))
	where := f.Where()
	if f.Key.Zone != "" {
		where += ", seen from the " + zones(it)
	}
	fmt.Fprintf(&b, "   where:    %s\n", one(where))
	fmt.Fprintf(&b, "   since:    %s\n", Moment(f.FirstSeen, l.Zone))
	fmt.Fprintf(&b, "   how sure: %s (severity %s, class %s)\n", f.Grade, f.Severity, f.Class)
	for _, k := range sortedKeys(f.Evidence) {
		fmt.Fprintf(&b, "   %s: %s\n", one(k), f.Evidence[k].Mail())
	}
	if f.Cause != "" {
		fmt.Fprintf(&b, "   cause:    %s\n", one(f.Cause))
	}
	fmt.Fprintf(&b, "   whose:    the %s's, because %s (%s)\n", f.Duty.Party, one(f.Duty.Reason), one(f.Duty.Assignment))
	if f.Duty.ThirdParty != "" && l.Step != casework.StepStatus {
		fmt.Fprintf(&b, "   done by:  %s, for the provider\n", one(strings.TrimSpace(f.Duty.Doer+" "+f.Duty.Contact)))
	}
	if l.Step == casework.StepStatus {
		b.WriteString("\n")
		return b.String() // what to do is told to who must do it
	}
	if it.Advice != "" {
		fmt.Fprintf(&b, "\n%s\n", indent(it.Advice))
	}
	for i, g := range it.Guides {
		fmt.Fprintf(&b, "%s%s\n", []string{"\n   how to:   ", "             "}[min(i, 1)], one(g))
	}
	if len(it.Remedy) > 0 {
		b.WriteString("\n   To close it from outside:\n\n")
		for _, r := range it.Remedy {
			fmt.Fprintf(&b, "     %s\n", command(r))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// zones names those from which a weakness is seen.
func zones(it Item) string {
	if len(it.Zones) == 0 {
		return string(it.Finding.Key.Zone)
	}
	out := make([]string, len(it.Zones))
	for i, z := range it.Zones {
		out[i] = string(z)
	}
	return strings.Join(out, " and the ")
}

// Merge joins the items of a letter that are one weakness, seen from several zones: the same check at the same place of the same port, in the same
// state, of which the same is said. The first stays, with the zones of all and the commands of all.
func Merge(items []Item) []Item {
	var out []Item
	for _, it := range items {
		i := slices.IndexFunc(out, func(o Item) bool { return sameWeakness(o.Finding, it.Finding) })
		if i < 0 {
			out = append(out, it)
			continue
		}
		o := &out[i]
		if len(o.Zones) == 0 {
			o.Zones = []probe.Zone{o.Finding.Key.Zone}
		}
		o.Zones = append(o.Zones, it.Finding.Key.Zone)
		o.Finding.FirstSeen = min(o.Finding.FirstSeen, it.Finding.FirstSeen)
		for _, r := range it.Remedy {
			if !slices.Contains(o.Remedy, r) {
				o.Remedy = append(o.Remedy, r)
			}
		}
	}
	return out
}

func sameWeakness(a, b finding.Finding) bool {
	k := b.Key
	k.Zone = a.Key.Zone
	return a.Key == k && a.Key.Zone != b.Key.Zone && a.State.Live() == b.State.Live() && a.NoVerdict == b.NoVerdict && a.Where() == b.Where() &&
		a.Grade == b.Grade && a.Severity == b.Severity && a.Class == b.Class && a.Title == b.Title && a.Cause == b.Cause &&
		a.Duty.Party == b.Duty.Party && maps.Equal(a.Evidence, b.Evidence)
}
