package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"demarc/internal/access"
	"demarc/internal/casework"
)

// DueMail lists the mails to send now, in the order they were queued.
func (d *DB) DueMail(ctx context.Context, now int64) ([]casework.Mail, error) {
	return d.outbox(ctx, `WHERE status = 'pending' AND next_at <= $1 ORDER BY id`, now)
}

// Mails lists the mails of the cases in the reader's scope, oldest first. Mails that belong to no case are for those who see everything.
func (d *DB) Mails(ctx context.Context, s access.Scope) ([]casework.Mail, error) {
	w := &where{}
	w.scope(s, "kase.project")
	return d.mails(ctx, `SELECT mail.body FROM mail LEFT JOIN kase ON kase.id = mail.kase`+w.String()+` ORDER BY mail.id`, w.args...)
}

// LatestMails lists the latest mails of the cases in the reader's scope, newest first.
func (d *DB) LatestMails(ctx context.Context, s access.Scope, limit int) ([]casework.Mail, error) {
	w := &where{}
	w.scope(s, "kase.project")
	w.args = append(w.args, limit)
	last := fmt.Sprintf(` ORDER BY mail.id DESC LIMIT $%d`, len(w.args))
	return d.mails(ctx, `SELECT mail.body FROM mail LEFT JOIN kase ON kase.id = mail.kase`+w.String()+last, w.args...)
}

// HasNotified reports whether any mail to an owner or to the provider was ever accepted by the next hop.
func (d *DB) HasNotified(ctx context.Context) (bool, error) {
	found := errors.New("found")
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		m, err := decode[casework.Mail]("a mail", body)
		if err == nil && m.To != casework.Operators {
			err = found
		}
		return err
	}, `SELECT body FROM mail WHERE status = 'accepted' ORDER BY id DESC`)
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// Mail finds one mail of a case in the reader's scope.
func (d *DB) Mail(ctx context.Context, s access.Scope, id string) (casework.Mail, error) {
	w := &where{}
	w.add("mail.id = ?", id)
	w.scope(s, "kase.project")
	ms, err := d.mails(ctx, `SELECT mail.body FROM mail LEFT JOIN kase ON kase.id = mail.kase`+w.String(), w.args...)
	if err != nil {
		return casework.Mail{}, err
	}
	if len(ms) == 0 {
		return casework.Mail{}, notFound("mail", id)
	}
	return ms[0], nil
}

// MailsOf lists the mails of a case, oldest first.
func (d *DB) MailsOf(ctx context.Context, id string) ([]casework.Mail, error) {
	out, err := d.outbox(ctx, `WHERE kase = $1 ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", id, err)
	}
	return out, nil
}

// outbox reads mails. Status and time of the next attempt are those that sending goes by.
func (d *DB) outbox(ctx context.Context, which string, args ...any) ([]casework.Mail, error) {
	var out []casework.Mail
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body, status string
		var next int64
		if err := r.Scan(&body, &status, &next); err != nil {
			return err
		}
		m, err := decode[casework.Mail]("a mail", body)
		m.Status, m.NextAt = casework.MailStatus(status), next
		out = append(out, m)
		return err
	}, `SELECT body, status, next_at FROM mail `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("listing mail: %w", err)
	}
	return out, nil
}

func (d *DB) mails(ctx context.Context, query string, args ...any) ([]casework.Mail, error) {
	var out []casework.Mail
	err := each(ctx, d.read, func(r *sql.Rows) error {
		var body string
		if err := r.Scan(&body); err != nil {
			return err
		}
		m, err := decode[casework.Mail]("a mail", body)
		out = append(out, m)
		return err
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("listing mail: %w", err)
	}
	return out, nil
}
