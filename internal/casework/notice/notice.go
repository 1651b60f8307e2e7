// Package notice decides who is told what, in which words.
package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"net/mail"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/untrusted"
)

// Contacts are the operator's own addresses.
type Contacts struct {
	From      string // sender and address for replies
	Provider  string // who acts for the provider
	Operators string // who approves and is asked
	Domain    string // right side of Message-IDs
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

// messageID is RFC 5322 msg-id without the angle brackets. The whole id of the case is part of it: two cases may share the
// short name. So is the time a round began, for what may be told more than once in a case's life.
func messageID(c casework.Case, s casework.Step, recipient, domain string) string {
	round := ""
	switch s {
	case casework.StepRelapse, casework.StepEscalation:
		round = stamp(c.RelapsedAt)
	case casework.StepHeld:
		round = stamp(c.ReleasedAt) + c.Hold
	case casework.StepApproval:
		round = stamp(c.QueuedAt)
	case casework.StepRefused:
		round = stamp(c.QueuedAt) + strings.Join(c.Blocks, "\x00")
	case casework.StepRestricted, casework.StepTampered:
		round = stamp(c.RestrictedAt)
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
	case casework.StepFinal, casework.StepClosed, casework.StepWithdrawn:
		round = stamp(c.OpenedAt)
	}
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
		if a, ok := address(x, s.Creator); ok {
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

// CheckAddress tells whether s is exactly one plain mail address, at a name and not at a number, of runes that show.
func CheckAddress(s string) (string, bool) {
	if len(s) > 254 || strings.ContainsAny(s, " <>,;\"[]") || untrusted.From(s).Mail() != s {
		return "", false
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" {
		return "", false
	}
	return a.Address, true
}
