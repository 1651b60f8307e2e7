// Package finding is one claim that something is wrong, with its evidence.
package finding

import (
	"fmt"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/duty"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// Grade says how sure a claim is. Only Proved may ever lead to an act.
type Grade string

const (
	Proved    Grade = "proved"    // the exchange itself showed it
	Stated    Grade = "stated"    // the peer says so
	Observed  Grade = "observed"  // seen from outside; policy decides what it means
	Inferred  Grade = "inferred"  // follows from something else
	Suspected Grade = "suspected" // perhaps
)

// State is where a finding stands.
type State string

const (
	Suspicion       State = "suspected"
	Open            State = "open"
	Claimed         State = "claimed"          // the owner says it is fixed
	Fixed           State = "fixed"            // proven, twice
	Closed          State = "closed"           // fixed, and 14 days without recurrence
	Unverifiable    State = "unverifiable"     // we could not look: never a fix
	Moot            State = "moot"             // the machine is gone
	Dropped         State = "dropped"          // never confirmed
	AttributionHold State = "attribution_hold" // we are not sure whose it is: nobody is told
)

// LiveStates lists the states in which a weakness still has to be dealt with.
var LiveStates = []State{Suspicion, Open, Claimed, Unverifiable}

// Live tells whether the weakness still has to be dealt with.
func (s State) Live() bool {
	return slices.Contains(LiveStates, s)
}

// Key is a finding's identity. No address, title or version is part of it, so an address that moves takes
// no finding along, and a check that is reworded starts no new case.
type Key struct {
	Cloud   string          `json:"cloud"`
	Server  asset.ServerID  `json:"server,omitempty"`
	Port    asset.PortID    `json:"port,omitempty"`
	Project asset.ProjectID `json:"project,omitempty"` // only where there is no server
	Check   string          `json:"check"`
	Locus   string          `json:"locus"` // tcp/6379, what a rule says, host, …
	Zone    probe.Zone      `json:"zone"`  // the class of vantage that sees it
}

func (k Key) String() string {
	return strings.Join([]string{k.Cloud, string(k.Server), string(k.Port), string(k.Project), k.Check, k.Locus, string(k.Zone)}, "|")
}

// LocusOf names the place of an endpoint on its port.
func LocusOf(e probe.Endpoint) string { return fmt.Sprintf("%s/%d", e.Proto, e.Port) }

// Verdict is what one look says about one finding.
type Verdict string

const (
	Vulnerable    Verdict = "vulnerable"
	NotVulnerable Verdict = "not_vulnerable" // positive proof of refusal
	ClosedPort    Verdict = "closed"         // the port answers that it is closed
	Removed       Verdict = "removed"        // the cloud's rules no longer let the zone in, and the path is alive
	NoAnswer      Verdict = "filtered"       // silence although the rules let us in: says nothing
	Inconclusive  Verdict = "inconclusive"   // an answer that proves neither
)

// Negative tells whether the verdict is proof that the weakness is gone.
func (v Verdict) Negative() bool { return v == NotVulnerable || v == ClosedPort || v == Removed }

// Finding is a claim about one place on one machine.
type Finding struct {
	ID       string          `json:"id"`
	Key      Key             `json:"key"`
	Case     string          `json:"case,omitempty"`
	Project  asset.ProjectID `json:"project"` // whose machine it is on
	State    State           `json:"state"`
	Grade    Grade           `json:"grade"`
	Severity string          `json:"severity"` // critical, high, medium, low, info
	Class    string          `json:"class"`    // the deadline class of the policy: X, E, C, H, M, L, B, U
	Title    string          `json:"title"`
	Revision int             `json:"revision"` // of the check

	Endpoint probe.Endpoint            `json:"endpoint"` // where it was last seen: an attribute, not an identity
	Vantage  string                    `json:"vantage"`
	Facts    string                    `json:"facts"` // hash of the facts that show it
	Evidence map[string]untrusted.Text `json:"evidence,omitempty"`
	Cause    string                    `json:"cause,omitempty"` // for what the cloud's rules do not explain: why it answers
	Duty     duty.Resolution           `json:"duty"`

	FirstSeen     int64  `json:"first_seen"`
	LastSeen      int64  `json:"last_seen"`            // last positive look
	Negatives     int    `json:"negatives,omitempty"`  // positive negatives in a row
	GoodSince     int64  `json:"good_since,omitempty"` // first of them
	LastGood      int64  `json:"last_good,omitempty"`
	Silences      int    `json:"silences,omitempty"`        // silent cycles in a row
	SilentFrom    int64  `json:"silent_from,omitempty"`     // first of them
	LastSilent    int64  `json:"last_silent,omitempty"`     // last counted one
	NoVerdictFrom int64  `json:"no_verdict_from,omitempty"` // since when no look has told anything; 0: the last one did
	NoVerdict     string `json:"no_verdict,omitempty"`      // why the last one did not
	FixedAt       int64  `json:"fixed_at,omitempty"`        // when the fix was proven
	Reopened      int    `json:"reopened,omitempty"`        // times it came back
	Version       int    `json:"version"`                   // grows with each write
}

// Where names the place a finding is about, for people: its endpoint, or what of the configuration it is about.
func (f Finding) Where() string {
	if f.Endpoint.Addr.IsValid() {
		return f.Endpoint.String()
	}
	return f.Key.Locus
}

// Sighting is one look at a finding: the record that repeated scans, and proofs of a fix, are counted from.
type Sighting struct {
	Finding string  `json:"finding"`
	At      int64   `json:"at"`      // policy clock
	RealAt  int64   `json:"real_at"` // real clock
	Verdict Verdict `json:"verdict"`
	Vantage string  `json:"vantage"`
	Facts   string  `json:"facts,omitempty"`
	Binding string  `json:"binding,omitempty"` // the binding it was attributed through
}

// Charge is who had to act on a finding from a time on, until the next one. The first stands when the finding is opened.
type Charge struct {
	Finding string          `json:"finding"`
	At      int64           `json:"at"` // policy clock
	Duty    duty.Resolution `json:"duty"`
	Told    bool            `json:"told,omitempty"` // the clock of who held it before had begun
	Left    int64           `json:"left,omitempty"` // and so much of its time was left, µs
}

// HeldSince is since when the last of some charges, in the order of their times, has had the party that holds it; 0 where it is
// another's.
func HeldSince(cs []Charge, p duty.Party) int64 {
	var since int64
	for _, c := range cs {
		switch {
		case c.Duty.Party != p:
			since = 0
		case since == 0:
			since = c.At
		}
	}
	return since
}

// TimeAgain is the time a party is given for what it held before and now holds again: what it had left when it passed, and at
// least the given minimum. It is 0, for the full time, where the party never held it, was not told then, or gave it away longer
// ago than a time.
func TimeAgain(cs []Charge, p duty.Party, now, least, within int64) int64 {
	for i := len(cs) - 2; i >= 0; i-- {
		if next := cs[i+1]; cs[i].Duty.Party == p && next.Duty.Party != p {
			if next.Told && now-next.At <= within {
				return max(next.Left, least)
			}
			return 0
		}
	}
	return 0
}

// ChargeAt picks, of charges in the order of their times, the one that stood at a time; ok is false before the first.
func ChargeAt(cs []Charge, at int64) (c Charge, ok bool) {
	for _, x := range cs {
		if x.At <= at {
			c, ok = x, true
		}
	}
	return c, ok
}

// Filter narrows a listing of findings; an empty field matches all.
type Filter struct {
	Case   string
	Server asset.ServerID
	States []State
}
