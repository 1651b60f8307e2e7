package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"demarc/internal/casework"
	"demarc/internal/untrusted"
)

// Paused is the mail that tells the operators that the service paused enforcement by itself, and why. It belongs to no case. Its words are
// final: they state no deadline. The time is policy time, µs; the same reason at the same time is the same message.
func Paused(id string, k Contacts, why string, z *time.Location, now int64) casework.Mail {
	sum := sha256.Sum256([]byte(stamp(now) + "\x00" + why))
	return casework.Mail{ID: id, Step: casework.StepSystem, To: casework.Operators, Recipient: k.Operators,
		QueuedAt: now, Status: casework.Waiting, NextAt: now,
		MessageID: "demarc.paused." + hex.EncodeToString(sum[:8]) + "@" + k.Domain,
		Subject:   "[Demarc] Enforcement is paused: an operator must look",
		Body: fmt.Sprintf(`Demarc paused enforcement by itself on %s.

Reason:
%s

No machine is disconnected or stopped while enforcement is paused. Probes, mails and releases continue.

What to do:
  1. Find out what happened, and put right what is wrong.
  2. See what waits:       demarc enforce pending --config demarc.yaml
  3. Resume enforcement:   demarc enforce resume --config demarc.yaml
`, Moment(now, z), indent(untrusted.From(why).Mail()))}
}

// Problem is a cause for which work is not done.
type Problem struct {
	Cause, What string
	Since       int64 // real time, µs
	Count       int
}

// Problems is the mail that tells the operators what has not been done for long, and why. It belongs to no case. The time is real time, µs.
func Problems(id string, k Contacts, cloud string, ps []Problem, z *time.Location, now int64) casework.Mail {
	var list strings.Builder
	for _, p := range ps {
		fmt.Fprintf(&list, "%s, since %s, met %d times:\n  %s\n", untrusted.From(p.Cause).Mail(), Moment(p.Since, z), p.Count, untrusted.From(p.What).Cap(600).Mail())
	}
	sum := sha256.Sum256([]byte(stamp(now) + "\x00" + list.String()))
	return casework.Mail{ID: id, Step: casework.StepSystem, To: casework.Operators, Recipient: k.Operators,
		QueuedAt: now, Status: casework.Waiting, NextAt: now,
		MessageID: "demarc.problems." + hex.EncodeToString(sum[:8]) + "@" + k.Domain,
		Subject:   "[Demarc] Cloud " + untrusted.From(cloud).Mail() + ": some work is not done",
		Body: fmt.Sprintf(`Demarc cannot do some of its work on the cloud %s.

%s
What does not depend on this goes on. Nothing is called fixed, and nothing is enforced, by what could not be read or probed.

What to do:
  1. See what is wrong:  demarc doctor --config demarc.yaml
  2. Read the log of demarc serve. Each cause is logged once, then every hour with its count, and when it is over.
`, untrusted.From(cloud).Mail(), indent(list.String()))}
}

// Unstarted is the mail that tells the operators that a machine was given back, but for the start, which the cloud refuses: its case may be
// over, so the mail belongs to none. One restore is one message. The time is policy time, µs.
func Unstarted(id string, k Contacts, c casework.Case, act casework.Act, z *time.Location, now int64) casework.Mail {
	sum := sha256.Sum256([]byte("unstarted\x00" + act.ID))
	return casework.Mail{ID: id, Step: casework.StepSystem, To: casework.Operators, Recipient: k.Operators,
		QueuedAt: now, Status: casework.Waiting, NextAt: now,
		MessageID: "demarc.unstarted." + hex.EncodeToString(sum[:8]) + "@" + k.Domain,
		Subject:   "[Demarc] A server was given back and could not be started [" + c.Ref() + "]",
		Body: fmt.Sprintf(`Demarc gave server %s of project %s back on %s (case %s).
It could not be started.

Reason:
%s

The ports of the server have their security groups back, and it is unlocked. Demarc does not try again.

What to do:
  1. Find out why the cloud refuses: openstack server show %s
  2. Start the server, or tell its owner what happened to it.
`, untrusted.From(string(act.Server)).Mail(), untrusted.From(string(act.Project)).Mail(), Moment(now, z), c.Ref(),
			indent(untrusted.From(act.Note).Mail()), untrusted.From(string(act.Server)).Mail())}
}
