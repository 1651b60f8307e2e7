package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/flow"
)

// Teller prints a story as it happens: sentences for people, or one JSON object a line for programs.
type Teller struct {
	mu   sync.Mutex
	out  io.Writer
	json bool
	zone *time.Location
	day  string
	name func(asset.ProjectID) string
}

// NewTeller prints to out. Name turns a project's id into what people call it.
func NewTeller(out io.Writer, asJSON bool, zone *time.Location) *Teller {
	return &Teller{out: out, json: asJSON, zone: zone, name: func(p asset.ProjectID) string { return string(p) }}
}

// Named tells the teller how projects are called.
func (t *Teller) Named(name func(asset.ProjectID) string) { t.name = name }

// event is what one line of JSON holds; absent fields are left out.
type event struct {
	At       int64          `json:"at"` // µs
	Step     string         `json:"step"`
	Event    string         `json:"event"`
	Case     string         `json:"case,omitempty"`
	Finding  string         `json:"finding,omitempty"`
	Check    string         `json:"check,omitempty"`
	Server   string         `json:"server,omitempty"`
	ServerID asset.ServerID `json:"server_id,omitempty"`
	Project  string         `json:"project,omitempty"`
	Party    string         `json:"party,omitempty"`
	State    string         `json:"state,omitempty"`
	MailTo   string         `json:"mail_to,omitempty"`
	Act      string         `json:"cloud_action,omitempty"`
	Detail   string         `json:"detail,omitempty"`
}

// Happened prints what the line did.
func (t *Teller) Happened(h flow.Happening) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		e := event{At: h.At, Step: h.Step, Event: h.Event, Case: h.Case, Finding: h.Finding, Check: h.Check, Server: h.Server.Terminal(), ServerID: h.ServerID,
			Party: h.Party, State: h.State, MailTo: h.MailTo, Act: h.Act, Detail: h.Detail}
		if h.Project != "" {
			e.Project = t.name(h.Project)
		}
		t.line(e)
		return
	}
	if s := sentence(h, t.name); s != "" {
		t.print(h.At, h.Step, s)
	}
}

// Did prints what a person of the story did.
func (t *Teller) Did(at int64, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		t.line(event{At: at, Step: "story", Event: "people", Detail: what})
		return
	}
	t.print(at, "*", what)
}

func (t *Teller) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	_, _ = t.out.Write(append(b, '\n'))
}

func (t *Teller) print(at int64, step, s string) {
	when := time.UnixMicro(at).In(t.zone)
	if day := when.Format("Monday 2 January"); day != t.day {
		t.day = day
		fmt.Fprintf(t.out, "\n%s\n", day)
	}
	fmt.Fprintf(t.out, "  %s  %-9s  %s\n", when.Format("15:04"), step, s)
}

// sentence tells a happening to a person; "" leaves it out, because another one says it better.
func sentence(h flow.Happening, name func(asset.ProjectID) string) string {
	server := h.Server.Terminal()
	switch h.Event {
	case "finding.opened":
		return fmt.Sprintf("%s (project %s): %s", server, name(h.Project), h.Detail)
	case "observation.discarded":
		return fmt.Sprintf("%s: observation discarded, %s", server, h.Detail)
	case "mail.accepted":
		return fmt.Sprintf("mail to %s about %s: %s (%s)", h.MailTo, server, strings.ReplaceAll(h.Detail, "_", " "), casework.Ref(h.Case))
	case "mail.deferred", "mail.failed":
		return fmt.Sprintf("mail to %s about %s: %s", h.MailTo, server, h.Detail)
	case "gate.refused":
		return fmt.Sprintf("%s: the gate says no: %s", server, h.Detail)
	case "act.intended":
		return fmt.Sprintf("%s: %s of %s", server, h.Act, h.Detail)
	case "act.done":
		return fmt.Sprintf("%s: %s done, %s", server, h.Act, h.Detail)
	case "act.void", "act.held":
		return fmt.Sprintf("%s: %s: %s", server, h.Act, h.Detail)
	case scannerOnly:
		return fmt.Sprintf("%s: %s", server, h.Detail)
	case "inventory.partial":
		return "the inventory is partial: " + h.Detail
	case "looked.vulnerable", "looked.not_vulnerable", "looked.closed", "looked.removed", "looked.filtered":
		return fmt.Sprintf("%s: %s: %s", server, h.Check, looks[strings.TrimPrefix(h.Event, "looked.")])
	case "case.closed", "case.released", "case.restricted", "case.queued", "case.overdue", "case.verified", "case.on_hold", "case.moot":
		return fmt.Sprintf("%s: case %s is %s", server, casework.Ref(h.Case), strings.ReplaceAll(h.State, "_", " "))
	case "finding.unverifiable":
		return fmt.Sprintf("%s: %s is unverifiable: it stopped answering us, which is no fix", server, h.Check)
	case "finding.fixed":
		return fmt.Sprintf("%s: %s is proven fixed", server, h.Check)
	case "enforcement.paused", "enforcement.resumed":
		return h.Event + " " + h.Detail
	}
	return ""
}

var looks = map[string]string{
	"vulnerable":     "still there",
	"not_vulnerable": "refused, as it should be",
	"closed":         "the port is closed",
	"removed":        "the rules no longer let anybody in",
	"filtered":       "silence, which proves nothing",
}

// Summary prints how the stories ended.
func (t *Teller) Summary(o *Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		for _, x := range o.Stories {
			state := "held"
			if !x.Held {
				state = "wrong"
			}
			t.line(event{At: o.At, Step: "story", Event: "story.told", State: state, Detail: strings.Join(append([]string{x.Story + ". " + x.What}, x.Wrong...), "; ")})
		}
		t.line(event{At: o.At, Step: "story", Event: "story.over", State: map[bool]string{true: "held", false: "wrong"}[o.Wrong == 0], Detail: o.sum()})
		return
	}
	fmt.Fprintf(t.out, "\nHow the stories ended, held against the pretend world itself\n")
	for _, s := range o.Stories {
		mark := "held "
		if !s.Held {
			mark = "WRONG"
		}
		fmt.Fprintf(t.out, "  %s  %s. %s\n", mark, s.Story, s.What)
		for _, w := range s.Wrong {
			fmt.Fprintf(t.out, "           %s\n", w)
		}
	}
	fmt.Fprintln(t.out, o.sum())
}

// sum is the outcome in one line.
func (o *Outcome) sum() string {
	return fmt.Sprintf("%d policy days in %.1f s: %d mails, %d changes of ports, %d wrong.", o.Days, o.Seconds, o.Mails, o.Acts, o.Wrong)
}
