// Package cloud says what any cloud must tell or do for us.
package cloud

import (
	"context"
	"errors"
	"net/netip"

	"demarc/internal/asset"
	"demarc/internal/casework"
)

// The outcomes that a caller must tell apart; all others are faults for the operator.
var (
	// ErrNobody says that the cloud was asked and that no port holds the address.
	ErrNobody = errors.New("nobody holds the address")
	// ErrAmbiguous says that more than one port answers for the address, so it can be charged to none.
	ErrAmbiguous = errors.New("more than one port holds the address")
	// ErrNotFound says that the cloud was asked and does not know the identifier.
	ErrNotFound = errors.New("the cloud does not know it")
	// ErrStale says that somebody changed the port since the revision was read. Nothing was done.
	ErrStale = errors.New("the port has changed since it was read")
	// ErrCredential says that the cloud answered and does not take the credential.
	ErrCredential = errors.New("the credential is refused")
	// ErrUnknownOutcome says that the request left and no trustworthy answer came: it may or may not have
	// been done. Read the port again; never repeat blindly.
	ErrUnknownOutcome = errors.New("the outcome is unknown")
)

// Reader tells what a cloud holds. Its methods may be called from many goroutines.
type Reader interface {
	// Snapshot walks all listings. A listing that could not be read, or not provably to its end, is a Gap in the
	// snapshot, and what was read of it is kept; an error means that nothing could be read at all, as when the
	// credential is refused or ctx ended. The clock now (µs) is asked at the beginning and at the end. A reader that keeps its Pages goes on
	// with a walk that was cut less than a quarter of an hour ago; the snapshot then began when that walk did.
	Snapshot(ctx context.Context, now func() int64) (*asset.Snapshot, error)

	// Recent reads what changes often: the servers that changed since the given time, all security groups with their rules, all
	// address groups, and all floating IPs with their forwardings. Only of the snapshot names these kinds, so it is never complete: it
	// adds and alters, and removes nothing. A server that is gone comes as a row with status DELETED. What Nova does not count as a
	// change of a server, such as its tags, and all else waits for the next Snapshot. Since is the NovaClock of the reading before, by
	// Nova's own clock, whatever ours says; 0 is refused, for then a whole reading has to come first. The snapshot's NovaClock is the
	// next since; where servers were not read to their end it is the same once more. Errors and the clock now are as for Snapshot.
	Recent(ctx context.Context, since int64, now func() int64) (*asset.Snapshot, error)

	// Holder asks anew who holds an address in a scope (asset.ExternalScope or a network's id). It trusts no
	// earlier reading. ErrNobody: certainly none. ErrAmbiguous: several. Any other error: could not look.
	Holder(ctx context.Context, addr netip.Addr, scope string) (Holding, error)

	// Forwarded asks anew to which port the floating IP at an address forwards one port of a protocol (tcp, udp). The Holding is Shared, and
	// has the forwarding. ErrNobody: it forwards that port nowhere. ErrAmbiguous: to several ports. Any other error: could not look.
	Forwarded(ctx context.Context, addr netip.Addr, proto string, port uint16) (Holding, error)
}

// Pages keeps the pages of a walk over a cloud as they come, so that a walk that was cut, as when the process died, goes on behind the
// last one. What was kept goes when the snapshot is committed. There is at most one walk of a cloud at a time.
type Pages interface {
	// LastPage is the page that was kept last of a cloud, without its rows; false: none is.
	LastPage(ctx context.Context, cloud string) (asset.Page, bool, error)
	// KeptPages gives the pages of a listing, in their order, one at a time.
	KeptPages(ctx context.Context, cloud, listing string, each func(asset.Page) error) error
	// KeepPage keeps a page, in place of one of the same number. When it returns, the page survives the process.
	KeepPage(ctx context.Context, p asset.Page) error
	// DropPages forgets all pages of a cloud.
	DropPages(ctx context.Context, cloud string) error
}

// Holding is who holds an address at the moment of asking, with the revisions that prove it unchanged later.
type Holding struct {
	asset.Holder
	PortRevision     int
	FloatingRevision int              // 0 where no floating IP is involved
	ServerStatus     string           // "" where the port belongs to no server
	Forwarding       asset.Forwarding // of Forwarded alone
}

// Actor changes ports and machines, and what quarantine needs. Its methods may be called from many goroutines. None of
// them repeats a change by itself.
type Actor interface {
	// Port reads one port. ErrNotFound: it does not exist, or the account may not see it.
	Port(ctx context.Context, id asset.PortID) (asset.Port, error)

	// ServerPorts reads all ports of one server, in the order of their ids. A server that exists and has no port
	// gives an empty list; one that does not exist gives ErrNotFound.
	ServerPorts(ctx context.Context, id asset.ServerID) ([]asset.Port, error)

	// SetGroups replaces the whole group list of a port and switches its port security on, without which no group holds, if its revision is still the given one, and gives the port
	// as it is afterwards. ErrStale, ErrNotFound: nothing was done. ErrUnknownOutcome: see there. A fault: the cloud
	// refused or was not reached, and nothing was done.
	SetGroups(ctx context.Context, id asset.PortID, groups []asset.GroupID, revision int) (asset.Port, error)

	// Unfilter switches the port security of a port off and takes its groups away, if its revision is still the given one: how a port is
	// given back that had no port security before. The outcomes are those of SetGroups.
	Unfilter(ctx context.Context, id asset.PortID, revision int) (asset.Port, error)

	// Machine reads one server anew, with the cloud's memory of what was done to it, in no order. ErrNotFound as for Port.
	Machine(ctx context.Context, id asset.ServerID) (asset.Server, []asset.ServerAction, error)

	// Do does one thing to a machine. Reason is for a lock: its tenant reads it. That the cloud took it does not mean that it
	// is over: Machine tells. ErrNotFound: nothing was done. ErrUnknownOutcome: see there. A fault: the cloud refused
	// (fault.Conflict: as the machine is now) or was not reached, and nothing was done.
	Do(ctx context.Context, id asset.ServerID, do casework.MachineDo, reason string) error

	// EnsureQuarantine makes the group named in the spec exist in the enforcement project with exactly the wanted
	// rules, and proves it by reading it back. It may be repeated at any time, also after an unknown outcome. A
	// group that other projects can see is refused, for they could open it.
	EnsureQuarantine(ctx context.Context, spec QuarantineSpec) (asset.GroupID, error)

	// Group reads one security group with its rules. ErrNotFound as for Port.
	Group(ctx context.Context, id asset.GroupID) (asset.Group, error)

	// Account is the user id of the account that acts, "" where the cloud does not say it.
	Account() asset.UserID
}

// QuarantineSpec is what a quarantined machine may still talk to.
type QuarantineSpec struct {
	Name   string
	Admit  []Opening // towards the machine: the scanner, the owner's repair path
	Egress []Opening // from the machine: package mirrors, name service, time
}

// Opening admits one prefix.
type Opening struct {
	Prefix  netip.Prefix
	Proto   string // tcp, udp, icmp, …; "" is any
	PortMin int    // with PortMax 0: every port
	PortMax int
	Purpose string // stands in the rule's description, for the tenant to read
}
