package casework

import "demarc/internal/finding"

// Event is something that happened to a case.
type Event interface{ event() }

// The events.
type (
	// Opened: a finding joined the case.
	Opened struct{ Finding string }
	// Looked: a finding was looked at.
	Looked struct{ Sighting finding.Sighting }
	// MailAccepted: the next hop took a mail, with 250 after DATA.
	MailAccepted struct{ Notice Notice }
	// Fired: a timer fell due.
	Fired struct{ Timer Timer }
	// Acknowledgement: the owner has reacted.
	Acknowledgement struct{ By string }
	// Claim: the owner says it is fixed; on a restricted machine, asks for its release.
	Claim struct{ By string }
	// Approve: an operator consents to the act that waits.
	// It may decide against conditions of the gate that a person may judge, with a reason.
	Approve struct {
		By      string
		Despite []string
		Why     string
	}
	// Renewal: an operator starts a new round of notices, with its own clock.
	Renewal struct{ By, Why string }
	// Refused: the gate refused an attempted action.
	Refused struct{ Blocks []Refusal }
	// Acted: the machine is off the network, by this order; and stopped, where the order did that too.
	Acted struct {
		Act     string
		Stopped bool
	}
	// Held: this order takes the place of the one in force. It put a quarantine back that was undone.
	Held struct{ Act string }
	// Started: a stopped machine runs again, still off the network. Act is the order in force from now on, "" where it stays the same.
	Started struct{ Act string }
	// Restored: the machine has its network back, but for what Lost names.
	Restored struct{ Lost []string }
	// StillOpen: the machine is not started or given back, because its groups as they read now would open the weakness again.
	StillOpen struct{}
	// Hold: a human must look before anything else happens. Act is an order that may be in force, and may have stopped the
	// machine, so that a release undoes it.
	Hold struct {
		Why, Act string
		Stopped  bool
	}
	// Discarded: what was seen cannot be attributed to this machine after all.
	Discarded struct{ Finding, Why string }
	// NoVerdict: a check of the finding told nothing. Off: the machine does not run, so that nothing could be told.
	NoVerdict struct {
		Finding, Why string
		Off          bool
	}
	// Resume: a person has looked at a case on hold, and it goes on where it stood.
	Resume struct{ By string }
	// Withdraw: an operator takes the case back. What was done is undone, whatever the findings say.
	Withdraw struct{ By, Why string }
	// Passed: somebody else must act on some findings now, by the model or a contract. They have left for a case of theirs.
	Passed struct {
		Findings []string
		Why      string
	}
	// Received: findings that were another party's until now have joined the case. Time is how long the party has for them, in
	// µs; 0 is the time of their class.
	Received struct {
		Findings []string
		Time     int64
	}
	// Tampered: somebody undid, in part or whole, what keeps a machine off the network by our order.
	Tampered struct{}
	// Gone: the machine no longer exists.
	Gone struct{}
	// Continued: the case is about a machine that was made on the ports or volumes of a deleted one. Renewed counts the rounds that the
	// owner's changes have begun in that case.
	Continued struct {
		Case    string
		Renewed int
		Told    bool // its owner was notified in it
		Missed  bool // see Case.Missed
	}
)

func (Opened) event()          {}
func (Looked) event()          {}
func (MailAccepted) event()    {}
func (Fired) event()           {}
func (Acknowledgement) event() {}
func (Claim) event()           {}
func (Approve) event()         {}
func (Renewal) event()         {}
func (Refused) event()         {}
func (Acted) event()           {}
func (Held) event()            {}
func (Started) event()         {}
func (Restored) event()        {}
func (Hold) event()            {}
func (Discarded) event()       {}
func (NoVerdict) event()       {}
func (Resume) event()          {}
func (Withdraw) event()        {}
func (Passed) event()          {}
func (Received) event()        {}
func (Tampered) event()        {}
func (StillOpen) event()       {}
func (Continued) event()       {}
func (Gone) event()            {}

// Effect is something that must happen because of an event. Effects are written down in the transaction that
// writes the case, and carried out afterwards.
type Effect interface{ effect() }

// The effects.
type (
	// Send mails a step to an audience.
	Send struct {
		Step Step
		To   Audience
	}
	// Set arms a timer, replacing an earlier one of the same name.
	Set struct {
		Timer Timer
		At    int64
	}
	// Cancel disarms a timer.
	Cancel struct{ Timer Timer }
	// Blocked opens a case of its own: the machine stopped answering the scanner.
	Blocked struct{ Finding string }
)

func (Send) effect()    {}
func (Set) effect()     {}
func (Cancel) effect()  {}
func (Blocked) effect() {}
