// Package notice decides who is told what, in which words.
package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/casework"
)

// Contacts are the operator's own addresses.
type Contacts struct {
	From      string // sender and address for replies
	Provider  string // who acts for the provider
	Operators string // who approves and is asked
	Domain    string // right side of Message-IDs
	// Institution signs the mails; "": the cloud does.
	Institution string
}

// New makes a mail of a case. Its Message-ID follows from what it is, so that a copy sent after a crash is the same message.
func New(id string, c casework.Case, s casework.Step, to casework.Audience, recipient, domain string, now int64) casework.Mail {
	m := casework.Mail{ID: id, Case: c.ID, Step: s, To: to, Recipient: recipient, QueuedAt: now, Status: casework.Waiting, NextAt: now,
		MessageID: messageID(c, s, recipient, domain)}
	if root := messageID(c, casework.StepNotice, recipient, domain); root != m.MessageID {
		m.Thread = root
	}
	return m
}

// Again makes a mail that stands for one that was lost while its Message-ID is still taken. Its Message-ID follows from the time of the
// repair as well, so that it is sent.
func Again(id string, c casework.Case, s casework.Step, to casework.Audience, recipient, domain string, now int64) casework.Mail {
	m := New(id, c, s, to, recipient, domain, now)
	m.Thread = messageID(c, casework.StepNotice, recipient, domain)
	m.MessageID = messageIDIn(roundOf(c, s)+" repaired "+stamp(now), c, s, recipient, domain)
	return m
}

// messageID is RFC 5322 msg-id without the angle brackets. The whole id of the case is part of it: two cases may share the
// short name. So is the time a round began, for what may be told more than once in a case's life.
func messageID(c casework.Case, s casework.Step, recipient, domain string) string {
	return messageIDIn(roundOf(c, s), c, s, recipient, domain)
}

// roundOf is the part of a case's life that a step is mailed once in.
func roundOf(c casework.Case, s casework.Step) string {
	round := ""
	switch s {
	case casework.StepRelapse:
		round = stamp(c.RelapsedAt)
	case casework.StepEscalation:
		round = stamp(c.OpenedAt) + " " + stamp(c.RelapsedAt) + " " + stamp(c.FinalAt)
	case casework.StepHeld:
		round = stamp(c.ReleasedAt) + c.Hold
		if c.HeldAt > 0 { // the same reason may hold a case again
			round += " " + stamp(c.HeldAt)
		}
	case casework.StepApproval:
		round = stamp(c.QueuedAt)
	case casework.StepRefused:
		round = stamp(c.QueuedAt) + strings.Join(casework.Reasons(c.Blocks, true), "\x00")
	case casework.StepRestricted:
		round = stamp(c.RestrictedAt)
	case casework.StepTampered: // each that is sent is a message of its own
		round = stamp(c.RestrictedAt)
		if c.Tampers > 1 {
			round += " " + stamp(int64(c.Tampers))
		}
	case casework.StepReleased:
		round = stamp(c.ReleasedAt)
	case casework.StepPassed:
		round = stamp(c.PassedAt)
	case casework.StepStatus:
		round = stamp(c.OpenedAt) + string(c.State) + stamp(c.RelapsedAt)
	case casework.StepNotice:
		round = stamp(c.OpenedAt)
		if c.Received > 0 { // told anew for what came from another party
			round += " " + stamp(c.Received)
		}
	case casework.StepStillOpen:
		round = stamp(c.RestrictedAt) + " " + stamp(c.RequestedAt)
	case casework.StepReturned:
		round = stamp(c.OpenedAt) + " " + stamp(int64(c.Renewed))
	case casework.StepNoVerdict:
		round = stamp(c.NoVerdictAt)
	case casework.StepFinal, casework.StepClosed, casework.StepWithdrawn, casework.StepObserved, casework.StepSystem:
		round = stamp(c.OpenedAt)
	}
	return round
}

func messageIDIn(round string, c casework.Case, s casework.Step, recipient, domain string) string {
	sum := sha256.Sum256([]byte(c.ID + "\x00" + recipient + "\x00" + round))
	return strings.ToLower(c.Ref()) + "." + strings.ReplaceAll(string(s), "_", "-") + "." + hex.EncodeToString(sum[:8]) + "@" + domain
}

// Recipient is somebody to tell, and why it is them.
type Recipient struct {
	Address string
	As      string // creator, admin, member, provider, operators
}

// mostRecipients bounds how many people of a project hear of one case.
const mostRecipients = 3

// Recipients says who hears of a case: for the owner the server's creator while still in the project, else its
// admins, else its members; when no one has a usable address, the operators, who then must approve by hand.
func Recipients(x *asset.Index, c casework.Case, to casework.Audience, k Contacts) []Recipient {
	switch to {
	case casework.Provider:
		return []Recipient{{k.Provider, "provider"}}
	case casework.Operators:
		return []Recipient{{k.Operators, "operators"}}
	case casework.Owner:
	}
	if s := x.Servers[c.Server]; s != nil && inProject(x, s.Creator, c.Project) {
		if a, ok := address(x, s.Creator); ok && slices.Contains(Able(x, c.Project), a) { // who may only read cannot repair it
			return []Recipient{{a, "creator"}}
		}
	}
	for _, roles := range [][]string{{"admin", "manager"}, {"member"}} {
		if rs := withRole(x, c.Project, roles); len(rs) > 0 {
			return rs
		}
	}
	return []Recipient{{k.Operators, "operators"}}
}

func inProject(x *asset.Index, u asset.UserID, p asset.ProjectID) bool {
	for _, g := range x.Snapshot.Grants {
		if g.User == u && g.Project == p {
			return true
		}
	}
	return false
}

func withRole(x *asset.Index, p asset.ProjectID, roles []string) []Recipient {
	var out []Recipient
	seen := map[string]bool{}
	for _, g := range x.Snapshot.Grants {
		for _, r := range roles {
			if g.Project != p || g.Role != r || len(out) >= mostRecipients {
				continue
			}
			if a, ok := address(x, g.User); ok && !seen[a] {
				seen[a] = true
				out = append(out, Recipient{a, r})
			}
		}
	}
	return out
}

// address is a user's mail address, if the account is enabled and the address is one. What the identity service holds
// was typed by a person: a line break or a second address in it must not become a header.
func address(x *asset.Index, u asset.UserID) (string, bool) {
	v := x.Users[u]
	if v == nil || !v.Enabled {
		return "", false
	}
	return CheckAddress(v.Mail)
}

// Able lists the mail addresses of everybody who can act for a project now: an enabled account with the role admin, manager or member on
// it, and a usable address. It is not bounded as Recipients is.
func Able(x *asset.Index, p asset.ProjectID) []string {
	var out []string
	for _, g := range x.Snapshot.Grants {
		if g.Project != p || !slices.Contains([]string{"admin", "manager", "member"}, g.Role) {
			continue
		}
		if a, ok := address(x, g.User); ok && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}
