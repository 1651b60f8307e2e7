package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/policy"
)

// identity: the machine that would be acted on is the one that every finding of the case is about.
func identity(f Facts, _ *policy.Policy) Reason {
	for _, x := range f.Findings {
		if x.State.Live() && x.Server != f.Case.Server {
			return Reason{Text: "a finding of the case is about another machine", Detail: "finding " + x.ID + " is about server " + string(x.Server)}
		}
	}
	switch {
	case !f.Target.ServerExists:
		return because("the server is not there")
	case !f.Target.SameProject:
		return because("the server is in another project")
	case !f.Target.SamePort:
		return because("the address no longer leads to the port it was seen on")
	case f.Target.Shared:
		return because("many machines answer at the address")
	}
	return Reason{}
}

// spoofing: nobody else could have answered for the address. What a project chose in its own network does not protect its machines:
// there a person decides.
func spoofing(f Facts, _ *policy.Policy) Reason {
	ns := f.Target.Neighbours
	if len(ns) == 0 {
		return Reason{}
	}
	own := !slices.ContainsFunc(ns, func(n Neighbour) bool { return !n.Own })
	if own && f.Case.Overruled("spoofing") {
		return Reason{}
	}
	r := Reason{Text: "another machine on its network could have answered for the address"}
	var details []string
	for i, n := range ns {
		if i == mostNamed {
			details = append(details, fmt.Sprintf("and %d more", len(ns)-i))
			break
		}
		details = append(details, fmt.Sprintf("port %s of project %s: %s", n.Port, n.Project, n.Why))
	}
	if own {
		details = append(details, "all of the machine's own project: an operator decides, by approving with --despite spoofing")
	}
	r.Detail = strings.Join(details, "; ")
	return r
}

// mostNamed bounds how many objects a refusal names.
const mostNamed = 5

// portSecurity: a port without port security takes no group before it is switched on. That its owner switched it off does not protect the
// machine: a person decides.
func portSecurity(f Facts, _ *policy.Policy) Reason {
	ports := f.Target.Unsecured
	if len(ports) == 0 || f.Case.Overruled("port-security") {
		return Reason{}
	}
	return Reason{
		Text: "a port of the machine has port security off, so no security group holds on it",
		Detail: "port " + joined(ports) + "; it can be switched on for the quarantine and off again after it: " +
			"an operator decides, by approving with --despite port-security",
	}
}

func joined(ports []asset.PortID) string {
	var out []string
	for i, p := range ports {
		if i == mostNamed {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(ports)-i)
		}
		out = append(out, string(p))
	}
	return strings.Join(out, ", ")
}

func fresh(what string, a Age, most policy.Duration) string {
	switch {
	case a < 0:
		return what + " was never read"
	case int64(a) > most.Micros():
		return fmt.Sprintf("%s is %s old, more than %s", what, time.Duration(a)*time.Microsecond, most)
	}
	return ""
}

func inventory(f Facts, p *policy.Policy) Reason {
	if !f.Healthy {
		return because("the inventory is not healthy")
	}
	return because(fresh("the inventory", f.InventoryAge, p.Freshness.Inventory))
}

// class: the class whose action was announced ends in an action.
func class(f Facts, p *policy.Policy) Reason {
	if f.Case.Track == casework.Forwarded {
		return because("it is seen through a port forwarding, which is only reported")
	}
	name := f.Case.ActingClass()
	k, ok := p.Classes[name]
	if !ok {
		return because(fmt.Sprintf("class %q has no clocks", name))
	}
	return unless(k.End.Restricts(), fmt.Sprintf("class %s ends in %s", name, k.End))
}

// budget: over any limit means none of the batch.
func budget(f Facts, p *policy.Policy) Reason {
	b, u := p.Budgets, f.Usage
	if u.Batch < 1 || u.BatchProject < 1 || u.CloudServers < 1 || u.ProjectServers < 1 {
		return because("the usage is not known")
	}
	for _, l := range []struct {
		what        string
		used, limit int
	}{
		{"an hour for the cloud", u.CloudHour + u.Batch, b.CloudHour},
		{"a day for the cloud", u.CloudDay + u.Batch, b.CloudDay},
		{"an hour for the project", u.ProjectHour + u.BatchProject, b.ProjectHour},
		{"a day for the project", u.ProjectDay + u.BatchProject, share(b.ProjectShare, u.ProjectServers)},
		{"a day for the cloud, by its running servers", u.CloudDay + u.Batch, share(b.CloudShare, u.CloudServers)},
	} {
		if l.used > l.limit {
			return because(fmt.Sprintf("%d acts in %s, at most %d", l.used, l.what, l.limit))
		}
	}
	return Reason{}
}

// share is a part of n, and never less than one.
func share(part float64, n int) int { return max(1, int(part*float64(n))) }

// finals lists the accepted mails that announced the action: the final warning, or after a relapse the mail about that.
func finals(c casework.Case) []casework.Notice {
	if c.RelapsedAt > 0 {
		return slices.DeleteFunc(c.Accepted(casework.StepRelapse), func(n casework.Notice) bool { return n.AcceptedAt < c.RelapsedAt })
	}
	return c.Accepted(casework.StepFinal)
}
