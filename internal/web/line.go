package web

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// How much the first page shows.
const (
	mostCases   = 200
	mostEvents  = 30
	mostMails   = 12
	mostEntries = 500 // of the log, searched for the last happening of each case
)

// station is one step of the line, with what went through it.
type station struct {
	Name, Count, What string
	Latest            bool
}

// event is one happening as pages show it.
type event struct {
	At      int64
	Actor   string
	Event   string
	Case    string
	Machine untrusted.Text
	Detail  string
	MailTo  string
}

// row is one case of the list.
type row struct {
	casework.Case
	Machine, Owner untrusted.Text
	Last           event
}

type linePage struct {
	frame
	Stations []station
	Cases    []row
	More     int
	Events   []event
	Mails    []casework.Mail
}

// line shows the line moving.
func (s *site) line(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := s.frame(ctx, r, "The line")
	if err != nil {
		return err
	}
	p := linePage{frame: f}
	entries, err := s.DB.Entries(ctx, mostEntries)
	if err != nil {
		return err
	}
	events := make([]event, len(entries))
	for i, e := range entries {
		events[i] = eventOf(e)
	}
	p.Events = events[:min(len(events), mostEvents)]
	if p.Stations, err = s.stations(ctx, entries); err != nil {
		return err
	}
	if p.Cases, p.More, err = s.rows(ctx, events); err != nil {
		return err
	}
	if p.Mails, err = s.DB.LatestMails(ctx, reader(), mostMails); err != nil {
		return err
	}
	s.show(w, http.StatusOK, "line", p)
	return nil
}

// eventOf reads an entry of the log; what does not read as a happening is shown by its kind.
func eventOf(e audit.Entry) event {
	out := event{At: e.At, Actor: e.Actor, Event: e.Kind, Case: e.Case}
	var h flow.Happening
	if json.Unmarshal(e.Detail, &h) == nil {
		out.Machine, out.Detail, out.MailTo = h.Server, h.Detail, h.MailTo
	}
	return out
}

func (s *site) stations(ctx context.Context, entries []audit.Entry) ([]station, error) {
	t, err := s.DB.Tally(ctx, reader())
	if err != nil {
		return nil, err
	}
	latest, err := s.latest(ctx, entries)
	if err != nil {
		return nil, err
	}
	out := []station{
		{Name: "inventory", Count: grouped(t.Machines), What: plural(t.Machines, "machine with an address", "machines with an address")},
		{Name: "plan", Count: grouped(t.Sweeps), What: plural(t.Sweeps, "run planned", "runs planned")},
		{Name: "probe", Count: grouped(t.Sent), What: plural(t.Sent, "connection made", "connections made")},
		{Name: "collect", Count: grouped(t.Answered), What: plural(t.Answered, "answer", "answers")},
		{Name: "judge", Count: grouped(t.Findings), What: plural(t.Findings, "finding", "findings")},
		{Name: "attribute", Count: grouped(t.Customer) + " : " + grouped(t.Provider), What: "customer : provider"},
		{Name: "case", Count: grouped(t.Live), What: fmt.Sprintf("open of %s", grouped(t.Cases))},
		{Name: "notify", Count: grouped(t.Mails), What: plural(t.Mails, "mail taken", "mails taken") + waiting(t)},
		{Name: "verify", Count: grouped(t.Looks), What: plural(t.Looks, "look at findings", "looks at findings")},
		{Name: "enforce", Count: grouped(t.Taken), What: plural(t.Taken, "machine isolated", "machines isolated")},
		{Name: "release", Count: grouped(t.Returned), What: plural(t.Returned, "given back", "given back")},
	}
	for i := range out {
		out[i].Latest = out[i].Name == latest
	}
	return out, nil
}

func waiting(t casework.Tally) string {
	if t.Waiting == 0 {
		return ""
	}
	return ", " + grouped(t.Waiting) + " waiting"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// latest names the step where something happened last: in the log, or by looking, which only coverage tells.
func (s *site) latest(ctx context.Context, entries []audit.Entry) (string, error) {
	looks, err := s.DB.Coverages(ctx, 1)
	if err != nil {
		return "", err
	}
	name, at := "", int64(0)
	if len(entries) > 0 {
		name, at = stepOf(entries[0]), entries[0].At
	}
	if len(looks) > 0 && looks[0].Ended > at {
		name = "collect"
		if looks[0].Shard == store.KindInventory {
			name = "inventory"
		}
	}
	return name, nil
}

// stepOf places an entry on the line.
func stepOf(e audit.Entry) string {
	var h flow.Happening
	if json.Unmarshal(e.Detail, &h) != nil {
		return ""
	}
	switch {
	case e.Kind == "case.opened":
		return "case"
	case e.Kind == "finding.opened":
		return "attribute"
	case strings.HasPrefix(e.Kind, "mail."):
		return "notify"
	}
	return h.Step
}

// rows lists the cases: those that are not over first, the newest first.
func (s *site) rows(ctx context.Context, events []event) (out []row, more int, err error) {
	cs, err := s.DB.Cases(ctx, reader(), casework.Filter{})
	if err != nil {
		return nil, 0, err
	}
	slices.SortStableFunc(cs, func(a, b casework.Case) int {
		if a.State.Over() != b.State.Over() {
			if a.State.Over() {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(b.OpenedAt, a.OpenedAt), cmp.Compare(b.ID, a.ID))
	})
	last := map[string]event{}
	for _, e := range events {
		if _, ok := last[e.Case]; !ok {
			last[e.Case] = e
		}
	}
	more = max(0, len(cs)-mostCases)
	for _, c := range cs[:len(cs)-more] {
		x := row{Case: c, Last: last[c.ID]}
		if x.Machine, x.Owner, err = s.names(ctx, c.Cloud, c.Server, c.Project); err != nil {
			return nil, 0, err
		}
		out = append(out, x)
	}
	return out, more, nil
}

// names finds what a server and a project are called; one that is not known has its id.
func (s *site) names(ctx context.Context, cloud string, id asset.ServerID, p asset.ProjectID) (server, project untrusted.Text, err error) {
	if server, err = s.name(ctx, cloud, "server", string(id)); err != nil {
		return
	}
	project, err = s.name(ctx, cloud, "project", string(p))
	return
}

func (s *site) name(ctx context.Context, cloud, kind, id string) (untrusted.Text, error) {
	t, err := s.DB.NameOf(ctx, reader(), cloud, kind, id)
	if fault.Is(err, fault.NotFound) {
		return untrusted.From(id), nil
	}
	if t.Empty() {
		t = untrusted.From(id)
	}
	return t, err
}
