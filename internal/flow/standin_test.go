package flow

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/policy"
)

// In notify mode an open case always has a mail that waits or was accepted, whatever the next hop answers, whoever leaves the project, and
// whichever addresses the configuration names.
func TestOpenCaseIsNeverWithoutAMail(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l, w := newSimulated(t)
		w.mode = policy.Notify
		provider := rapid.Bool().Draw(rt, "the provider's")
		w.change(func(c *casework.Case) {
			if c.State, c.Notices = casework.New, nil; provider {
				c.Party = duty.Provider
			}
		})
		to := casework.Owner
		if provider {
			to = casework.Provider
		}
		w.mails = nil
		d := l.draft("test")
		for _, r := range notice.Recipients(l.x, w.cases["c1"], to, l.Contacts) {
			d.queueMail(w.cases["c1"], notice.New(newID(), w.cases["c1"], casework.StepNotice, to, r.Address, l.Contacts.Domain, simNow), r.As, casework.MailRef{})
		}
		if err := d.commit(t.Context()); err != nil {
			rt.Fatal(err)
		}
		people := 0
		for step := range 30 {
			switch rapid.IntRange(0, 5).Draw(rt, "what happens") {
			case 0:
				w.sendErr = nil
			case 1, 2:
				w.sendErr = fault.New(fault.Refused, "no such user")
			case 3:
				w.sendErr = errSimulated
			case 4: // who was in the project leaves, and somebody else comes, or nobody
				w.inventory.Grants = nil
				if rapid.Bool().Draw(rt, "somebody comes") {
					people++
					id := asset.UserID(fmt.Sprint("user-", people))
					w.inventory.Users = append(w.inventory.Users, asset.User{ID: id, Mail: string(id) + "@astro.example", Enabled: true})
					w.inventory.Grants = []asset.Grant{{User: id, Project: "astro", Role: "member"}}
				}
				l.know(asset.NewIndex(w.inventory))
			case 5: // the configuration names others
				l.Contacts.Operators = fmt.Sprintf("operators-%d@cloud.example", rapid.IntRange(0, 2).Draw(rt, "operators"))
				l.Contacts.Provider = fmt.Sprintf("provider-%d@cloud.example", rapid.IntRange(0, 2).Draw(rt, "provider"))
			}
			w.now += hour
			if _, err := l.notify(t.Context()); err != nil {
				rt.Fatal(err)
			}
			c := w.cases["c1"]
			if c.State.Over() {
				return
			}
			if !slices.ContainsFunc(w.mails, func(m casework.Mail) bool { return m.Case == "c1" && m.Status != casework.Bounced }) {
				rt.Fatalf("step %d: the case is %s, and all its mails were given up: %+v", step, c.State, w.mails)
			}
		}
	})
}

// What the provider's address refuses goes to the operators; what theirs refuses waits, and is sent once they are reached.
func TestProvidersMailGoesToTheOperators(t *testing.T) {
	t.Parallel()
	l, w := newSimulated(t)
	w.mode = policy.Notify
	w.change(func(c *casework.Case) { c.State, c.Party, c.Notices = casework.New, duty.Provider, nil })
	m := notice.New("m1", w.cases["c1"], casework.StepNotice, casework.Provider, l.Contacts.Provider, l.Contacts.Domain, simNow)
	w.mails, w.sendErr = []casework.Mail{m}, fault.New(fault.Refused, "no such user")
	for range 3 {
		w.now += 2 * hour
		if _, err := l.notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.mails) != 2 || w.mails[0].Status != casework.Bounced || w.mails[1].Recipient != simOperators || w.mails[1].To != casework.Provider || w.mails[1].Status != casework.Waiting {
		t.Fatalf("%+v", w.mails)
	}
	w.sendErr = nil
	w.now += 2 * hour
	if _, err := l.notify(t.Context()); err != nil || len(w.sent) != 1 || w.sent[0].Recipient != simOperators {
		t.Errorf("%v, sent %+v", err, w.sent)
	}
}
