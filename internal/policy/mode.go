package policy

import (
	"strings"

	"demarc/internal/fault"
)

// Mode says how far Demarc may go on a cloud. The modes are ordered: each allows everything that the one before it allows.
// The zero value, and every value that is not one of the three, counts as Observe.
type Mode string

const (
	Observe Mode = "observe" // only operators get mail; cases stay new and no deadline runs
	Notify  Mode = "notify"  // owners and the provider are notified and deadlines run; no machine is restricted
	Enforce Mode = "enforce" // a machine may be restricted, after an operator's approval
)

// Modes lists the modes, the least one first.
var Modes = []Mode{Observe, Notify, Enforce}

// ParseMode reads the name of a mode.
func ParseMode(s string) (Mode, error) {
	for _, m := range Modes {
		if s == string(m) {
			return m, nil
		}
	}
	return Observe, fault.New(fault.Usage, "unknown mode %q", s).Hinted("one of %s", strings.Join(modeNames(), ", "))
}

func modeNames() []string {
	out := make([]string, len(Modes))
	for i, m := range Modes {
		out[i] = string(m)
	}
	return out
}

func (m Mode) rank() int {
	switch m {
	case Observe:
		return 0
	case Notify:
		return 1
	case Enforce:
		return 2
	}
	return 0
}

// AtLeast reports whether m allows what o allows.
func (m Mode) AtLeast(o Mode) bool { return m.rank() >= o.rank() }

// Known returns m if it is one of the three modes, else Observe.
func (m Mode) Known() Mode { return Modes[m.rank()] }

// Lower returns the lower of two modes.
func (m Mode) Lower(o Mode) Mode {
	if m.AtLeast(o) {
		return o.Known()
	}
	return m.Known()
}

// Describe says in one sentence what happens in a mode, and what the next one needs.
func (m Mode) Describe() string {
	switch m {
	case Notify:
		return "owners and the provider are notified and deadlines run; no server is restricted. " +
			"To restrict servers after an operator's approval: demarc mode set enforce"
	case Enforce:
		return "a server may be restricted after an operator's approval"
	case Observe:
	}
	return "only operators get mail, and no deadline runs. To notify owners: demarc mode set notify"
}

// InMode returns a copy of the policy with another mode in force.
func (p *Policy) InMode(m Mode) *Policy {
	q := *p
	q.Mode = m.Known()
	return &q
}

// EndOf returns the strongest action that a class of findings may lead to in the mode in force: below Enforce it is always Report.
// In Enforce it is "" for a class that the policy does not name.
func (p *Policy) EndOf(class string) End {
	if !p.Mode.AtLeast(Enforce) {
		return Report
	}
	return p.Classes[class].End
}

// removed replaces the error about the key dry_run, which the mode replaces, by one with the line to write instead.
func removed(data []byte, err error) error {
	f, ok := fault.Of(err)
	if !ok || !strings.HasPrefix(f.Message, `unknown field "dry_run"`) {
		return err
	}
	line := "mode: notify"
	if fault.ValueAt(data, f.At.Line, "dry_run") == "false" {
		line = "mode: enforce"
	}
	return fault.New(fault.Config, "dry_run was removed from the policy; the mode replaces it").In(f.At).
		Hinted("delete this line, and write `%s` in the configuration (demarc.yaml); without it the mode is observe", line)
}
