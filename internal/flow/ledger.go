package flow

import (
	"context"
	"net/netip"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

// Ledger is what the line needs of the store.
//
// Readings see everything committed before they began. Commit writes all of a change or nothing, refuses with
// fault.Conflict when a case, finding or act was written since it was read, and when it returns without error the
// change survives the loss of the process and of power.
type Ledger interface {
	Paused(ctx context.Context) (bool, error)
	Mode(ctx context.Context) (m policy.Mode, chosen bool, err error) // as the operators chose it; Observe where nobody did
	AppliedMode(ctx context.Context) (policy.Mode, error)             // that the pipeline worked in last
	ProofsFrom(ctx context.Context) (int64, error)
	Snapshot(ctx context.Context, cloud string, at int64) (*asset.Snapshot, error)
	BindingsAt(ctx context.Context, s access.Scope, addr netip.Addr, at int64) ([]asset.Binding, error)
	LastCoverage(ctx context.Context, kind, cloud, vantage string, purpose probe.Purpose) (probe.Coverage, bool, error)
	LastSweep(ctx context.Context, cloud, vantage string, purpose probe.Purpose) (probe.Coverage, error)
	Since(ctx context.Context, cloud string) (int64, error)
	LastPage(ctx context.Context, cloud string) (asset.Page, bool, error)
	Queue(ctx context.Context, vantage string, limit int) ([]casework.Ask, error)
	Blocks(ctx context.Context, vantage string) (map[netip.Prefix]int64, error)
	Walk(ctx context.Context, vantage string) (probe.Walk, error)
	Reached(ctx context.Context, vantage string) (string, error)
	LastStandings(ctx context.Context, cloud, vantage string) ([]casework.Standing, error)
	OpenExposures(ctx context.Context, vantage string) ([]probe.Exposure, error)
	Case(ctx context.Context, s access.Scope, id string) (casework.Case, error)
	Cases(ctx context.Context, s access.Scope, f casework.Filter) ([]casework.Case, error)
	OpenCase(ctx context.Context, k casework.Key) (casework.Case, bool, error)
	Findings(ctx context.Context, s access.Scope, f finding.Filter) ([]finding.Finding, error)
	FindingByKey(ctx context.Context, k finding.Key) (finding.Finding, bool, error)
	Sightings(ctx context.Context, id string) ([]finding.Sighting, error)
	Witness(ctx context.Context, id string) ([]audit.Entry, error)
	WitnessKinds(ctx context.Context, since int64, most int, kinds ...string) ([]audit.Entry, error)
	PortsWithin(ctx context.Context, cloud string, networks []asset.NetworkID, since int64) ([]asset.Port, error)
	PersonLeft(ctx context.Context, cloud string, project asset.ProjectID, address string) (int64, error)
	Charges(ctx context.Context, s access.Scope, id string) ([]finding.Charge, error)
	Model(ctx context.Context, id string, version int) (casework.ModelUse, bool, error)
	Timers(ctx context.Context, caseID string) ([]casework.Due, error)
	MailsOf(ctx context.Context, caseID string) ([]casework.Mail, error)
	DueTimers(ctx context.Context, now int64) ([]casework.Due, error)
	DueMail(ctx context.Context, now int64) ([]casework.Mail, error)
	NextDue(ctx context.Context, after int64) (int64, bool, error)
	Act(ctx context.Context, id string) (casework.Act, error)
	ActsOn(ctx context.Context, cloud string, s asset.ServerID) ([]casework.Act, error)
	RunningActs(ctx context.Context) ([]casework.Act, error)
	Acts(ctx context.Context, cloud string, since int64) ([]casework.Act, error)
	Leftovers(ctx context.Context, cloud string) ([]casework.Leftover, error)
	Clearings(ctx context.Context) ([]casework.Clearing, error)
	Restricting(ctx context.Context, cloud string) ([]casework.Act, error)
	Restored(ctx context.Context, cloud string) ([]casework.Act, error)
	Commit(ctx context.Context, c casework.Change) error
}
