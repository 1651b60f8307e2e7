package notice_test

import (
	"regexp"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/duty"
	"demarc/internal/policy"
)

// threat matches every word by which a mail could announce an action on a server.
var threat = regexp.MustCompile(`(?i)disconnect|quarantine|off the network|network|final|approv|taken|operator decides|may be`)

// reportsEarlier are the steps that report what was done, or refused, under enforce: they arise from that alone, and go out in every
// mode, so that the machine's owner or the operators learn of it.
var reportsEarlier = map[casework.Step]bool{
	casework.StepRestricted: true, casework.StepReleased: true, casework.StepRefused: true, casework.StepTampered: true,
	casework.StepStillOpen: true,
}

// Below enforce no mail says that anything may happen to a server: a step that would is kept back, the others say what really follows.
func TestNoMailAnnouncesAnActionBelowEnforce(t *testing.T) {
	d, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []policy.Mode{policy.Observe, policy.Notify} {
		p := d.InMode(mode)
		for _, s := range allSteps {
			for _, track := range []casework.Track{casework.Vulnerability, casework.Exposure, casework.ScanBlocked, casework.Configuration} {
				for _, party := range []duty.Party{duty.Customer, duty.Provider, duty.Shared} {
					for _, class := range append([]string{"", "X"}, policy.ClassNames...) {
						l := letter(t, s, "")
						l.Case.Track, l.Case.Party, l.Case.Class, l.End = track, party, class, p.EndOf(class)
						l.Case.OpenedAt, l.Untold = now, s == casework.StepNotice
						l.Deadline = casework.Promise(l.Case, s, p, now)
						kept := casework.Waits(s, casework.Owner, mode) && casework.Waits(s, casework.Operators, mode)
						subject, body := notice.Write(l)
						if word := threat.FindString(subject + body); word != "" && !kept && !reportsEarlier[s] {
							t.Errorf("%s, %s of class %s on track %s for the %s says %q:\n%s\n%s", mode, s, class, track, party, word, subject, body)
						}
						if kept && !(s == casework.StepFinal || s == casework.StepApproval) {
							t.Errorf("%s: %s is kept back from operators too", mode, s)
						}
						if end := casework.Announces(l.Case, s, p); end.Restricts() || end == policy.Operator {
							t.Errorf("%s: %s announces %s", mode, s, end)
						}
					}
				}
			}
		}
	}
}

// In observe nobody but the operators gets mail, whatever the step.
func TestOnlyOperatorsGetMailInObserve(t *testing.T) {
	for _, m := range []policy.Mode{policy.Observe, "", "Enforce", "enforce\n", "off"} {
		for _, s := range allSteps {
			if !casework.Waits(s, casework.Owner, m) || !casework.Waits(s, casework.Provider, m) {
				t.Errorf("mode %q: %s goes out", m, s)
			}
			if casework.Waits(s, casework.Operators, m) != (s == casework.StepFinal || s == casework.StepApproval) {
				t.Errorf("mode %q: %s to the operators", m, s)
			}
		}
	}
}

// A case that begins a new round reports anew that it is overdue: the mail of an earlier round is not taken for this one's.
func TestEachRoundHasItsOwnEscalation(t *testing.T) {
	c := casework.Case{ID: "01998a5e-0000-7000-8000-000000abcdef", OpenedAt: now}
	seen := map[string]bool{}
	for _, alter := range []func(){func() {}, func() { c.OpenedAt += day }, func() { c.FinalAt = now }, func() { c.RelapsedAt = now }} {
		alter()
		id := notice.New("id", c, casework.StepEscalation, casework.Operators, "ops@cloud.example", "cloud.example", now).MessageID
		if seen[id] {
			t.Errorf("%+v has the Message-ID of an earlier escalation", c)
		}
		seen[id] = true
	}
}
