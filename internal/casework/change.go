package casework

import (
	"errors"
	"net/netip"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
)

// Due is an armed timer of a case.
type Due struct {
	Case  string `json:"case"`
	Timer Timer  `json:"timer"`
	At    int64  `json:"at"`
}

// Inventory is one walk over a cloud, to be merged: it adds and alters; it removes only when complete.
type Inventory struct {
	Snapshot *asset.Snapshot
	RealAt   int64
	Took     int64 // µs that were spent on it; 0: all from its beginning to its end
	Imported bool  // from a file: it was so at the time of the change, is learnt at RealAt, and is taken at its word at once
}

// Change is what one step of the line writes, all of it or nothing: state, next work, outgoing mail and audit entries
// stand in one transaction. Cases, findings and acts carry the version they were read at; if somebody wrote in between,
// the whole change is refused as a conflict.
type Change struct {
	At        int64 // policy time of the step, µs; the ledger's clock never goes back behind it
	Require   Require
	Inventory *Inventory
	Coverage  []probe.Coverage
	Facts     []probe.Facts
	Exposures []probe.Exposure // new ones, and known ones with their end
	Cases     []Case
	Findings  []finding.Finding
	Sightings []finding.Sighting
	Charges   []finding.Charge
	Models    []ModelUse // each once for its id and version
	Arm       []Due
	Disarm    []Due
	Mails     []Mail // inserted once per message id; a known one is updated
	Acts      []Act
	Queue     []Ask                             // endpoints that have just been opened, to be probed at once
	Asked     []Ask                             // and those that were
	Reached   map[string]string                 // by vantage point: reach.Set.Digest of what Queue was worked out from
	Blocks    map[string]map[netip.Prefix]int64 // by vantage point: since when it probes each netblock, policy time, µs
	Walks     map[string]probe.Walk             // by vantage point: since when each wide run of ports is probed part by part
	Standings []Standing
	Leftovers map[string][]Leftover // by cloud: all that is left over there now
	Clear     []Clearing            // what a person decided to end
	Cleared   []string              // and what of it is done or cannot be done, by id
	Pause     *bool                 // throws or lifts the kill switch
	Mode      policy.Mode           // the mode that the operators chose; "": as it was
	Applied   policy.Mode           // the mode that the pipeline works in from now on; "": as it was
	Anew      bool                  // what was seen before At proves nothing any more: the ledger is not the one that was written last
	NewBase   bool                  // the audit log as it is now is followed from here on, although it does not extend the one followed so far
	Anchor    *Anchor               // where the clock stands
	Audit     []audit.Entry
}

// Require lists what must hold when a change is written. It is checked inside the writing transaction, before anything is written. The
// zero value requires nothing.
type Require struct {
	Running bool        // the kill switch is off; otherwise the change is refused with ErrPaused
	Mode    policy.Mode // the lowest mode chosen by the operators in which the change may be written, else ErrPaused; "" is any
}

// ErrPaused is why a change was refused that requires Running, or a mode that the operators did not choose. Nothing of it was written.
var ErrPaused = errors.New("enforcement is paused")

// Ask is a run of endpoints that waits to be probed.
type Ask struct {
	Vantage     string
	Project     asset.ProjectID // that holds the port behind the address: each project that waits gets its turn
	Addr        netip.Addr
	Proto       probe.Proto
	First, Last uint16
	At          int64 // policy time at which it was found open, µs
}

// Standing counts, for one project as one vantage point sees it, how what endpoints do stands to what the rules say, from one time
// on until the next row: endpoints, and for OpenSilent runs of ports that one object, such as a rule, lets in to and in which nothing
// listens.
type Standing struct {
	Cloud         string          `json:"cloud"`
	Vantage       string          `json:"vantage"`
	Project       asset.ProjectID `json:"project"`
	At            int64           `json:"at"` // policy time, µs
	OpenAnswers   int             `json:"open_answers"`
	OpenSilent    int             `json:"open_silent"`
	DeniedAnswers int             `json:"denied_answers"`
	DeniedSilent  int             `json:"denied_silent"` // of the control sample
	ScannerOnly   int             `json:"scanner_only"`
	Unsure        int             `json:"unsure"`
}

// Same tells whether two counts say the same. How many of a sample were silent says nothing new.
func (s Standing) Same(o Standing) bool {
	s.At, s.DeniedSilent = o.At, o.DeniedSilent
	return s == o
}

// ModelUse says that a version of a responsibility model came into use. Its text is kept, so that what was decided by it can be
// shown for as long as the ledger lives.
type ModelUse struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
	Hash    string `json:"hash"` // SHA-256 of the text
	Text    string `json:"text"`
	Since   int64  `json:"since"` // policy clock
}

// Anchor is where the clock stood when it was last written: what a restart goes on from.
type Anchor struct {
	Boot  string `json:"boot"`            // the machine's boot; "" where that is not known
	Since int64  `json:"since"`           // µs since that boot, sleep included
	Real  int64  `json:"real"`            // time of the world, µs
	Now   int64  `json:"now"`             // policy time, µs
	Jumps []Jump `json:"jumps,omitempty"` // time of the last seven days that a wall clock alone vouched for
}

// Jump is time that was counted at a start because the wall clock said so, with nothing else to vouch for it.
type Jump struct {
	At int64 `json:"at"` // time of the world after it, µs
	By int64 `json:"by"` // µs
}

// Empty tells whether there is nothing to write.
func (c Change) Empty() bool {
	return c.Inventory == nil && len(c.Coverage)+len(c.Facts)+len(c.Exposures)+len(c.Cases)+len(c.Findings)+len(c.Sightings)+len(c.Charges)+len(c.Models)+
		len(c.Arm)+len(c.Disarm)+len(c.Mails)+len(c.Acts)+len(c.Queue)+len(c.Asked)+len(c.Reached)+len(c.Blocks)+len(c.Walks)+
		len(c.Standings)+len(c.Leftovers)+len(c.Clear)+len(c.Cleared)+len(c.Audit) == 0 &&
		c.Pause == nil && c.Anchor == nil && !c.Anew && c.Mode == "" && c.Applied == "" && !c.NewBase
}
