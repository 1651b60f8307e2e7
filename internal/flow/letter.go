package flow

import (
	"context"
	"slices"
	"strings"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/finding"
	"demarc/internal/guide"
	"demarc/internal/reach"
	"demarc/internal/untrusted"
)

// letter gathers what a mail is written from.
func (l *Line) letter(ctx context.Context, ds casework.Dossier, m casework.Mail) (notice.Letter, error) {
	letter := notice.Letter{Case: ds.Case, Step: m.Step, Deadline: m.Deadline, End: l.endOf(ds.Case),
		Zone: l.Policy.Location(), PolicyURL: l.PolicyURL, Contacts: l.Contacts,
		Server: untrusted.From(string(ds.Case.Server)), Project: untrusted.From(string(ds.Case.Project)),
		Untold: l.untold(ds.Case, m), NoticedAt: noticedAt(ds.Case, m.Recipient)}
	if s := l.server(ds.Case.Server); s != nil {
		letter.Server = s.Name
	}
	if p := l.x.Projects[ds.Case.Project]; p != nil {
		letter.Project = p.Name
	}
	set := l.reach
	if ds.Case.Act != "" { // what opens the weakness once the machine is back
		order, err := l.Ledger.Act(ctx, ds.Case.Act)
		switch {
		case fault.Is(err, fault.NotFound): // the case is held, and the mail goes out with what is known
		case err != nil:
			return notice.Letter{}, err
		default:
			x := l.givenBack(order)
			set = func(v *Vantage) *reach.Set { return reach.Compute(x, v.View) }
		}
	}
	for _, f := range ds.Findings {
		if f.State.Live() {
			letter.Items = append(letter.Items, l.item(f, set))
		}
	}
	letter.Items = notice.Merge(letter.Items)
	return letter, nil
}

// noticedAt is when a recipient accepted the notice of this round, 0 where they did not.
func noticedAt(c casework.Case, recipient string) int64 {
	for _, n := range c.Accepted(casework.StepNotice) {
		if n.Recipient == recipient {
			return n.AcceptedAt
		}
	}
	return 0
}

// untold tells whether a mail must say that the owner was not reached: it goes to the operators in the owner's place, or asks
// them for an act of which nobody but themselves was given notice.
func (l *Line) untold(c casework.Case, m casework.Mail) bool {
	operators := l.Contacts.Operators
	switch {
	case m.To == casework.Owner:
		return m.Recipient == operators
	case m.Step == casework.StepApproval:
		return !slices.ContainsFunc(c.Notices, func(n casework.Notice) bool { return n.To == casework.Owner && n.Recipient != operators })
	}
	return false
}

func (l *Line) item(f finding.Finding, set func(*Vantage) *reach.Set) notice.Item {
	it := notice.Item{Finding: f, Guides: guide.Links(l.GuideURL, f.Key.Check, f.Duty.Duty)}
	if c := l.checks[f.Key.Check]; c != nil {
		it.Advice = strings.NewReplacer("{service}", serviceOf(c), "{endpoint}", placeOf(f)).Replace(c.Remedy)
	}
	if f.Key.Check == CheckBlocked || slices.Contains(postureChecks, f.Key.Check) || f.Duty.Party == duty.Provider {
		return it // the cure is not to close the tenant's rule
	}
	v := l.vantage(f.Vantage)
	if l.Remedy != nil && v != nil {
		it.Remedy = l.Remedy(l.x, f, set(v).Why(f.Endpoint, f.Key.Port))
	}
	return it
}

// placeOf names where a service is to be closed. What is forwarded has another port inside.
func placeOf(f finding.Finding) string {
	if isForwarded(f) {
		return "the port behind " + f.Where()
	}
	return f.Where()
}

// serviceOf names what a check is about, for a sentence.
func serviceOf(c *detect.Check) string {
	if len(c.Applies.Service) == 1 {
		return c.Applies.Service[0]
	}
	return "the service"
}
