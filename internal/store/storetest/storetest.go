// Package storetest is the exam every store takes.
package storetest

import (
	"context"
	"net/netip"
	"testing"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// Store is what is examined.
type Store interface {
	Commit(ctx context.Context, c casework.Change) error
	Clock(ctx context.Context) (int64, error)
	Paused(ctx context.Context) (bool, error)
	Mode(ctx context.Context) (m policy.Mode, chosen bool, err error)
	AppliedMode(ctx context.Context) (policy.Mode, error)
	HasNotified(ctx context.Context) (bool, error)
	Snapshot(ctx context.Context, cloud string, at int64) (*asset.Snapshot, error)
	Since(ctx context.Context, cloud string) (int64, error)
	LastPage(ctx context.Context, cloud string) (asset.Page, bool, error)
	KeptPages(ctx context.Context, cloud, listing string, use func(asset.Page) error) error
	KeepPage(ctx context.Context, p asset.Page) error
	DropPages(ctx context.Context, cloud string) error
	BindingsAt(ctx context.Context, s access.Scope, addr netip.Addr, at int64) ([]asset.Binding, error)
	BindingsWithin(ctx context.Context, s access.Scope, addr netip.Addr, from, to, knownAt int64) ([]asset.Binding, error)
	StateSince(ctx context.Context, cloud string, at int64) (int64, error)
	LastCoverage(ctx context.Context, kind, cloud, vantage string, purpose probe.Purpose) (probe.Coverage, bool, error)
	Queue(ctx context.Context, vantage string, limit int) ([]casework.Ask, error)
	Blocks(ctx context.Context, vantage string) (map[netip.Prefix]int64, error)
	Walk(ctx context.Context, vantage string) (probe.Walk, error)
	Rounds(ctx context.Context, cloud, vantage string, purpose probe.Purpose, limit int) ([]int64, error)
	Reached(ctx context.Context, vantage string) (string, error)
	Standings(ctx context.Context, s access.Scope, cloud string, project asset.ProjectID, since int64) ([]casework.Standing, error)
	LastStandings(ctx context.Context, cloud, vantage string) ([]casework.Standing, error)
	OpenExposures(ctx context.Context, vantage string) ([]probe.Exposure, error)
	FactsOf(ctx context.Context, hash string) (probe.Facts, error)
	Restricting(ctx context.Context, cloud string) ([]casework.Act, error)
	Restored(ctx context.Context, cloud string) ([]casework.Act, error)
	Case(ctx context.Context, s access.Scope, id string) (casework.Case, error)
	Cases(ctx context.Context, s access.Scope, f casework.Filter) ([]casework.Case, error)
	OpenCase(ctx context.Context, k casework.Key) (casework.Case, bool, error)
	Finding(ctx context.Context, s access.Scope, id string) (finding.Finding, error)
	Findings(ctx context.Context, s access.Scope, f finding.Filter) ([]finding.Finding, error)
	FindingByKey(ctx context.Context, k finding.Key) (finding.Finding, bool, error)
	Sightings(ctx context.Context, id string) ([]finding.Sighting, error)
	Charges(ctx context.Context, s access.Scope, id string) ([]finding.Charge, error)
	Model(ctx context.Context, id string, version int) (casework.ModelUse, bool, error)
	Timers(ctx context.Context, id string) ([]casework.Due, error)
	DueTimers(ctx context.Context, now int64) ([]casework.Due, error)
	DueMail(ctx context.Context, now int64) ([]casework.Mail, error)
	Mails(ctx context.Context, s access.Scope) ([]casework.Mail, error)
	Tally(ctx context.Context, s access.Scope) (casework.Tally, error)
	LatestMails(ctx context.Context, s access.Scope, limit int) ([]casework.Mail, error)
	Mail(ctx context.Context, s access.Scope, id string) (casework.Mail, error)
	NameOf(ctx context.Context, s access.Scope, cloud, kind, id string) (untrusted.Text, error)
	MailsOf(ctx context.Context, id string) ([]casework.Mail, error)
	NextDue(ctx context.Context, after int64) (int64, bool, error)
	Act(ctx context.Context, id string) (casework.Act, error)
	RunningActs(ctx context.Context) ([]casework.Act, error)
	AuditLog(ctx context.Context) (audit.Stored, error)
	Entries(ctx context.Context, limit int) ([]audit.Entry, error)
	EntriesOf(ctx context.Context, s access.Scope, id string) ([]audit.Entry, error)
	Close() error
}

// Engine is a kind of store.
type Engine struct {
	// Open opens the store that lives at a place, and makes it when there is none. Opening a place again finds what was
	// committed there.
	Open func(t *testing.T, place string) Store
	// Tables gives the name of every table of an open store with a checksum of all its rows.
	Tables func(t *testing.T, s Store) map[string]string
}

// Run examines an engine.
func Run(t *testing.T, e Engine) {
	for name, part := range map[string]func(*testing.T, Engine){
		"AllOrNothing": allOrNothing, "Conflict": conflict, "Constraints": constraints,
		"Timers": timers, "Mail": mail, "Clock": clock, "KillSwitch": killSwitch, "Required": required,
		"SystemMail": systemMail, "OrdersByEffect": ordersByEffect, "Modes": modes, "Notified": notified,
		"Scope": scope, "NotFound": notFound, "Reopen": reopen, "AuditVerifies": auditVerifies, "Exposures": exposures, "Queue": queue, "QueueTurns": queueTurns, "Blocks": blocks, "Walks": walks, "Standings": standings,
		"Merge": merge, "Recent": recent, "RecentDeleted": recentDeleted, "Older": olderAnswers, "Imported": imported, "Pages": pages, "Bindings": bindings, "History": history, "Unchanged": unchanged, "Large": large, "Order": order, "HostileText": hostileText, "TwoWriters": twoWriters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, e)
		})
	}
}

// exam is one store under examination.
type exam struct {
	t *testing.T
	Store
}

func begin(t *testing.T, e Engine) exam {
	t.Helper()
	s := e.Open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return exam{t, s}
}

// commit writes a change that must be accepted.
func (x exam) commit(c casework.Change) {
	x.t.Helper()
	if err := x.Commit(x.t.Context(), c); err != nil {
		x.t.Fatal(err)
	}
}

// refused writes a change that must not be.
func (x exam) refused(what string, c casework.Change) error {
	x.t.Helper()
	err := x.Commit(x.t.Context(), c)
	if err == nil {
		x.t.Errorf("%s was written", what)
	}
	return err
}

// got takes the answer of a reading that must not fail.
func got[T any](x exam) func(T, error) T {
	return func(v T, err error) T {
		x.t.Helper()
		if err != nil {
			x.t.Fatal(err)
		}
		return v
	}
}

var operator = access.Operator()

func aCase(id, project, server string) casework.Case {
	return casework.Case{ID: id, Cloud: "cloud", Server: asset.ServerID(server), Project: asset.ProjectID(project), Party: duty.Customer, Track: casework.Vulnerability, Class: "E", Zone: probe.Internet, State: casework.New, OpenedAt: 1}
}

func aFinding(id string, c casework.Case) finding.Finding {
	return finding.Finding{ID: id, Case: c.ID, Project: c.Project, State: finding.Open, Grade: finding.Proved, Class: "E", Title: "a weakness",
		Key: finding.Key{Cloud: c.Cloud, Server: c.Server, Port: "port", Check: "check-" + id, Locus: "tcp/1", Zone: probe.Internet}}
}

func aMail(id string, c casework.Case) casework.Mail {
	return casework.Mail{ID: id, Case: c.ID, Step: casework.StepNotice, To: casework.Owner, Recipient: "o@example.org", MessageID: "m-" + id, Status: casework.Waiting, NextAt: 5, QueuedAt: 5}
}

func anAct(id string, c casework.Case) casework.Act {
	return casework.Act{ID: id, Case: c.ID, Cloud: c.Cloud, Server: c.Server, Project: c.Project, Kind: casework.ActQuarantine, State: casework.ActIntended, IntendedAt: 5,
		Ports: []casework.PortOrder{{Port: "port", Before: []asset.GroupID{"a"}, After: []asset.GroupID{"q"}, Revision: 3}}}
}

func facts() probe.Facts { return probe.Facts{Outcome: probe.Open} }

func anEntry(kind string) audit.Entry { return audit.Entry{Actor: "demarc", Kind: kind} }
