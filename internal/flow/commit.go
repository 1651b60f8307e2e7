package flow

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/untrusted"
)

// Happening is one thing that happened on the line, for whoever watches. It stands in the audit log too.
type Happening struct {
	At       int64           `json:"at"`
	Step     string          `json:"step"`
	Event    string          `json:"event"`
	Case     string          `json:"case,omitempty"`
	Finding  string          `json:"finding,omitempty"`
	Check    string          `json:"check,omitempty"`
	Server   untrusted.Text  `json:"server,omitzero"`
	ServerID asset.ServerID  `json:"server_id,omitempty"`
	Project  asset.ProjectID `json:"project,omitempty"`
	Party    string          `json:"party,omitempty"`
	State    string          `json:"state,omitempty"`
	MailTo   string          `json:"mail_to,omitempty"`
	Act      string          `json:"cloud_action,omitempty"`
	Detail   string          `json:"detail,omitempty"`

	// What the gate reads back from the audit log.
	From     string             `json:"from,omitempty"`     // finding.passed: the case that it left; case.continues: the earlier case
	Class    string             `json:"class,omitempty"`    // finding.opened
	Grade    finding.Grade      `json:"grade,omitempty"`    // finding.opened
	Notice   *casework.Notice   `json:"notice,omitempty"`   // mail.accepted
	Mail     *casework.MailRef  `json:"mail,omitempty"`     // mail.queued, mail.accepted, mail.failed: which mail; reconcile reads it back
	Approval *casework.Approval `json:"approval,omitempty"` // people.approved
	Mode     policy.Mode        `json:"mode,omitempty"`     // mode.changed: the mode that was chosen
	Given    int64              `json:"given,omitempty"`    // finding.passed: the time that its new party has, where that is not the full time
	Order    string             `json:"order,omitempty"`    // act.intended: digest of the order
	Refusals []casework.Refusal `json:"refusals,omitempty"` // gate.refused; their details are for operators alone
}

// draft gathers what one step will write. It is the only way to write: every change of a state becomes an audit entry and a
// happening by passing through it.
type draft struct {
	l      *Line
	step   string
	actor  string
	now    int64
	policy *policy.Policy // that it decides by; its Mode is the one in force when the draft was begun
	change casework.Change
	news   []Happening
	silent []finding.Finding // that became unverifiable: each opens a case of its own
	first  []firstNotice     // that a case wants
}

func (l *Line) draft(step string) *draft {
	now := l.Clock.Now()
	return &draft{l: l, step: step, actor: "demarc", now: now, policy: l.Policy, change: casework.Change{At: now}}
}

// commit writes the draft and then tells the news.
func (d *draft) commit(ctx context.Context) error {
	for _, f := range d.silent {
		if err := d.openBlocked(ctx, f); err != nil {
			return err
		}
	}
	if err := d.queueFirst(ctx); err != nil {
		return err
	}
	if d.change.Empty() {
		return nil
	}
	if err := d.bind(ctx); err != nil {
		return err
	}
	for i := range d.news {
		e, err := d.entry(d.news[i])
		if err != nil {
			return err
		}
		d.change.Audit = append(d.change.Audit, e)
	}
	if err := d.l.Ledger.Commit(ctx, d.change); err != nil {
		return err
	}
	if d.l.Tell != nil {
		for _, h := range d.news {
			d.l.Tell(h)
		}
	}
	return nil
}

// bind names, for each look, the binding it is attributed through: who held the address then can be shown years later.
func (d *draft) bind(ctx context.Context) error {
	for i := range d.change.Sightings {
		x := &d.change.Sightings[i]
		for _, f := range d.change.Findings {
			if f.ID != x.Finding {
				continue
			}
			held, err := d.l.Ledger.BindingsAt(ctx, access.Operator(), f.Endpoint.Addr, 0)
			if err != nil {
				return err
			}
			for _, b := range held {
				if b.Cloud == f.Key.Cloud && b.Port == f.Key.Port {
					x.Binding = b.ID
				}
			}
		}
	}
	return nil
}

func (d *draft) entry(h Happening) (audit.Entry, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return audit.Entry{}, fmt.Errorf("audit entry: %w", err)
	}
	return audit.Entry{At: d.now, Actor: d.actor, Kind: h.Event, Case: h.Case, Subject: h.Finding, Detail: b}, nil
}

// say records that something happened.
func (d *draft) say(h Happening) { d.sayIn(d.step, h) }

// sayIn records that something happened in a step of the line that this change carries too.
func (d *draft) sayIn(step string, h Happening) {
	h.At, h.Step = d.now, step
	if s := d.l.server(h.ServerID); s != nil && h.Server.Empty() {
		h.Server = s.Name
	}
	d.news = append(d.news, h)
}

// mention tells whoever watches that work was done which changed nothing worth a record: the coverage has it.
func (l *Line) mention(step, event, format string, args ...any) {
	if l.Tell != nil {
		l.Tell(Happening{At: l.Clock.Now(), Step: step, Event: event, Detail: fmt.Sprintf(format, args...)})
	}
}

// about fills a happening from a case.
func about(c casework.Case, event string) Happening {
	return Happening{Event: event, Case: c.ID, ServerID: c.Server, Project: c.Project, Party: string(c.Party), State: string(c.State)}
}

// apply moves a dossier by an event and writes down everything that follows.
func (d *draft) apply(before casework.Dossier, ev casework.Event) casework.Dossier {
	after, effects := casework.Next(before, ev, d.policy, d.now)
	d.record(before, after)
	for _, e := range effects {
		d.effect(after, e)
	}
	return after
}

// record writes the difference between two states of a dossier.
func (d *draft) record(before, after casework.Dossier) {
	old := map[string]finding.Finding{}
	for _, f := range before.Findings {
		old[f.ID] = f
	}
	for _, f := range after.Findings {
		if o := old[f.ID]; o.State != f.State {
			if o.State == finding.Fixed && f.State.Live() {
				d.l.ChargeAnew() // it is back, and somebody else may hold it by now
			}
			h := about(after.Case, "finding."+string(f.State))
			h.Finding, h.Check, h.State, h.Detail = f.ID, f.Key.Check, string(f.State), f.Cause
			d.say(h)
		}
		d.putFinding(f)
	}
	if before.Case.State == casework.OnHold && after.Case.State != casework.OnHold {
		d.l.ChargeAnew() // it was left alone while a person held it
	}
	if before.Case.State != after.Case.State {
		h := about(after.Case, "case."+string(after.Case.State))
		h.Detail = after.Case.Hold
		d.say(h)
	}
	d.putCase(after.Case)
}

// putCase puts a case into the change, once, in its latest form.
func (d *draft) putCase(c casework.Case) {
	for i := range d.change.Cases {
		if d.change.Cases[i].ID == c.ID {
			d.change.Cases[i] = c
			return
		}
	}
	d.change.Cases = append(d.change.Cases, c)
}

func (d *draft) putFinding(f finding.Finding) {
	for i := range d.change.Findings {
		if d.change.Findings[i].ID == f.ID {
			d.change.Findings[i] = f
			return
		}
	}
	d.change.Findings = append(d.change.Findings, f)
}

func (d *draft) effect(s casework.Dossier, e casework.Effect) {
	c := s.Case
	switch e := e.(type) {
	case casework.Set:
		d.arm(casework.Due{Case: c.ID, Timer: e.Timer, At: e.At})
	case casework.Cancel:
		d.disarm(c.ID, e.Timer)
	case casework.Send:
		for _, r := range notice.Recipients(d.l.x, c, e.To, d.l.Contacts) {
			if e.Step == casework.StepStatus && r.As == "operators" {
				continue // there is no owner to show it to, and the operators know
			}
			m := notice.New(newID(), c, e.Step, e.To, r.Address, d.l.Contacts.Domain, d.now)
			if casework.Collected(c, e.Step) {
				d.first = append(d.first, firstNotice{c, m, r.As})
				continue
			}
			d.queueMail(c, m, r.As, casework.MailRef{})
		}
	case casework.Blocked:
		for _, f := range s.Findings {
			if f.ID == e.Finding {
				d.silent = append(d.silent, f)
			}
		}
	}
}

// queueMail puts a mail into the outbox and into the audit log. Reconcile relies on the log to find mails whose row was lost, so a new mail
// of a case passes through here. Ref may say what the mail replaces.
func (d *draft) queueMail(c casework.Case, m casework.Mail, as string, ref casework.MailRef) {
	d.change.Mails = append(d.change.Mails, m)
	h := about(c, "mail.queued")
	ref.Step, ref.To, ref.Recipient, ref.MessageID = m.Step, m.To, m.Recipient, m.MessageID
	h.MailTo, h.Mail, h.Detail = m.Recipient, &ref, fmt.Sprintf("%s, as %s", m.Step, as)
	d.say(h)
}

// arm and disarm keep the last word on a timer within one change.
func (d *draft) arm(t casework.Due) {
	d.forget(t.Case, t.Timer)
	d.change.Arm = append(d.change.Arm, t)
}

func (d *draft) disarm(id string, t casework.Timer) {
	d.forget(id, t)
	d.change.Disarm = append(d.change.Disarm, casework.Due{Case: id, Timer: t})
}

func (d *draft) forget(id string, t casework.Timer) {
	keep := d.change.Arm[:0]
	for _, x := range d.change.Arm {
		if x.Case != id || x.Timer != t {
			keep = append(keep, x)
		}
	}
	d.change.Arm = keep
}

// dossier reads a case with its findings.
func (l *Line) dossier(ctx context.Context, id string) (casework.Dossier, error) {
	c, err := l.Ledger.Case(ctx, access.Operator(), id)
	if err != nil {
		return casework.Dossier{}, err
	}
	fs, err := l.Ledger.Findings(ctx, access.Operator(), finding.Filter{Case: id})
	return casework.Dossier{Case: c, Findings: fs}, err
}

// dossier reads a case with its findings as this very change leaves them.
func (d *draft) dossier(ctx context.Context, id string) (casework.Dossier, error) {
	var ds casework.Dossier
	for _, c := range d.change.Cases {
		if c.ID == id {
			ds.Case = c
		}
	}
	if ds.Case.ID == "" || ds.Case.Version > 0 {
		var err error
		c := ds.Case
		if ds, err = d.l.dossier(ctx, id); err != nil {
			return ds, err
		}
		if c.ID != "" {
			ds.Case = c
		}
	}
	for _, f := range d.change.Findings {
		ds.Findings = withoutFinding(ds.Findings, f.ID) // it may have left
		if f.Case == id {
			ds.Findings = append(ds.Findings, f)
		}
	}
	return ds, nil
}

// server finds a server in the inventory as last read.
func (l *Line) server(id asset.ServerID) *asset.Server {
	if l.x == nil {
		return nil
	}
	return l.x.Servers[id]
}

// newID is a UUIDv7: unique, and in the order of its making.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
