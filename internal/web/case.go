package web

import (
	"net/http"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/guide"
	"demarc/internal/untrusted"
)

// Guides are the pages that say how to mend it.
func (s seen) Guides() []guide.Page { return guide.For(s.Key.Check, s.Duty.Duty) }

// seen is a finding with every look at it.
type seen struct {
	finding.Finding
	Looks []finding.Sighting
}

type casePage struct {
	frame
	Case           casework.Case
	Machine, Owner untrusted.Text
	Findings       []seen
	Timers         []casework.Due
	Events         []event
	Mails          []casework.Mail
	Acts           []casework.Act
}

// caseFile shows a case from its first look to now.
func (s *site) caseFile(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), r.PathValue("id")
	c, err := s.DB.Case(ctx, reader(), id)
	if err != nil {
		return err
	}
	p := casePage{Case: c}
	if p.frame, err = s.frame(ctx, r, c.Ref()); err != nil {
		return err
	}
	if p.Machine, p.Owner, err = s.names(ctx, c.Cloud, c.Server, c.Project); err != nil {
		return err
	}
	fs, err := s.DB.Findings(ctx, reader(), finding.Filter{Case: id})
	if err != nil {
		return err
	}
	for _, f := range fs {
		looks, err := s.DB.Sightings(ctx, f.ID)
		if err != nil {
			return err
		}
		p.Findings = append(p.Findings, seen{f, looks})
	}
	entries, err := s.DB.EntriesOf(ctx, reader(), id)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p.Events = append(p.Events, eventOf(e))
	}
	if p.Timers, err = s.DB.Timers(ctx, id); err != nil {
		return err
	}
	if p.Mails, err = s.DB.MailsOf(ctx, id); err != nil {
		return err
	}
	if p.Acts, err = s.DB.ActsOf(ctx, id); err != nil {
		return err
	}
	s.show(w, http.StatusOK, "case", p)
	return nil
}

// mail shows one mail as it was sent.
func (s *site) mail(w http.ResponseWriter, r *http.Request) error {
	m, err := s.DB.Mail(r.Context(), reader(), r.PathValue("id"))
	if err != nil {
		return err
	}
	f, err := s.frame(r.Context(), r, "Mail to "+untrusted.From(m.Recipient).Terminal())
	if err != nil {
		return err
	}
	f.Live = false // a mail that was sent does not change
	s.show(w, http.StatusOK, "mail", struct {
		frame
		Mail casework.Mail
	}{f, m})
	return nil
}

// policy shows the rules in force.
func (s *site) policy(w http.ResponseWriter, r *http.Request) error {
	f, err := s.frame(r.Context(), r, "Policy")
	if err != nil {
		return err
	}
	f.Live = false
	s.show(w, http.StatusOK, "policy", struct {
		frame
		Policy, Config string
	}{f, string(s.PolicyYAML), string(s.ConfigYAML)})
	return nil
}

// style is the one style sheet.
func (s *site) style(w http.ResponseWriter, _ *http.Request) error {
	b, err := files.ReadFile("page/style.css")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, err = w.Write(b)
	return err
}
