package flow

import (
	"context"
	"slices"

	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/casework/notice"
)

// people gathers who can act for the project of a case now, and who of those notified cannot any more.
func (l *Line) people(ctx context.Context, c casework.Case) (gate.People, error) {
	p := gate.People{Able: notice.Able(l.x, c.Project), StandIn: l.Contacts.Operators}
	seen := map[string]bool{}
	for _, n := range c.Notices {
		if n.To != casework.Owner || n.Recipient == l.Contacts.Operators || seen[n.Recipient] || slices.Contains(p.Able, n.Recipient) {
			continue
		}
		seen[n.Recipient] = true
		at, err := l.Ledger.PersonLeft(ctx, l.Cloud, c.Project, n.Recipient)
		if err != nil {
			return p, err
		}
		p.Left = append(p.Left, gate.Departure{Address: n.Recipient, At: at})
	}
	return p, nil
}
