package detect

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

const fuzzedAt = int64(1_790_000_000_000_000) // µs, in 2026

// seeds are the answers of all recordings.
func seeds(f *testing.F) (checks []Check, answers [][]byte) {
	f.Helper()
	checks, err := Load()
	if err != nil {
		f.Fatal(err)
	}
	recordings, err := LoadRecordings(Embedded())
	if err != nil {
		f.Fatal(err)
	}
	for i := range recordings {
		for _, a := range recordings[i].Answers {
			var b []byte
			for _, piece := range a.Received {
				part, err := unescape(piece)
				if err != nil {
					f.Fatal(err)
				}
				b = append(b, part...)
			}
			if len(b) > 0 {
				answers = append(answers, b)
			}
		}
	}
	return checks, answers
}

// What holds of any verdict, whatever the facts are.
func checkVerdict(t *testing.T, c *Check, f probe.Facts, v Verdict) {
	t.Helper()
	if !slices.Contains([]Answer{Vulnerable, NotVulnerable, Inconclusive}, v.Answer) || v.Because == "" {
		t.Errorf("%s: %q because %q", c.ID, v.Answer, v.Because)
	}
	for name, e := range v.Evidence {
		if !slices.Contains(c.Evidence, name) || e.Len() > evidenceMax {
			t.Errorf("%s keeps %s, %d bytes", c.ID, name, e.Len())
		}
	}
	if v.Answer == NotVulnerable && c.Locus != "host" && flagged(f.Service, suspect...) {
		t.Errorf("%s: a suspect peer proves a fix: %s", c.ID, v.Because)
	}
	if v.Applies && len(c.Exchange) > 0 && v.Answer == NotVulnerable {
		for _, x := range f.Exchanges {
			if x.Check == c.ID && (len(x.Turns) == 0 || !x.Turns[len(x.Turns)-1].Whole) {
				t.Errorf("%s: an answer that is not whole proves a fix: %s", c.ID, v.Because)
			}
		}
	}
}

// Whatever stands in a transcript, every check comes to a verdict, twice to the same, and keeps its bounds.
func FuzzTranscript(f *testing.F) {
	checks, answers := seeds(f)
	for i, a := range answers {
		f.Add(a, answers[(i+1)%len(answers)], answers[(i+7)%len(answers)], uint8(i))
	}
	f.Fuzz(func(t *testing.T, first, second, control []byte, bits uint8) {
		turn := func(b []byte, whole bool) probe.Turn {
			return probe.Turn{Received: untrusted.Bytes(b).Cap(4 << 10), Whole: whole}
		}
		s, _ := service.Classify(first)
		for _, name := range []string{service.HTTP, service.Redis, service.PostgreSQL, service.SSH, service.Telnet, probe.Unknown} {
			facts := probe.Facts{Outcome: probe.Open, Service: &probe.Service{Name: name}}
			if s != nil && s.Name == name {
				facts.Service = s
			}
			for i := range checks {
				x := probe.Exchange{Check: checks[i].ID, Revision: checks[i].Revision, End: probe.EndDone}
				x.Turns = []probe.Turn{turn(first, bits&1 != 0), turn(second, bits&2 != 0)}
				if bits&4 != 0 {
					c := turn(control, bits&8 != 0)
					x.Control = &c
				}
				if bits&16 != 0 {
					x.Turns = x.Turns[:1]
				}
				facts.Exchanges = append(facts.Exchanges, x)
			}
			for i := range checks {
				v := judge(facts, &checks[i], fuzzedAt)
				checkTranscript(t, &checks[i], facts, v)
				if again := judge(facts, &checks[i], fuzzedAt); again.Answer != v.Answer || again.Because != v.Because {
					t.Errorf("%s: %s and then %s", v.Check, v.Answer, again.Answer)
				}
			}
		}
	})
}

// checkTranscript holds a verdict on a made-up transcript, of which some turn may be the one that decided.
func checkTranscript(t *testing.T, c *Check, f probe.Facts, v Verdict) {
	t.Helper()
	whole := false
	for _, x := range f.Exchanges {
		for _, turn := range x.Turns {
			whole = whole || turn.Whole
		}
	}
	if v.Applies && len(c.Exchange) > 0 && v.Answer == NotVulnerable && !whole {
		t.Errorf("%s: no answer is whole, and one proves a fix: %s", c.ID, v.Because)
	}
	f.Exchanges = nil
	checkVerdict(t, c, f, v)
}

// A server that says one and the same to every question proves none of the weaknesses that are found by asking, whatever it says.
func FuzzOneAnswer(f *testing.F) {
	checks, answers := seeds(f)
	for i, a := range answers {
		f.Add(a, uint16([]int{22, 80, 443, 5432, 6379, 8888, 47001}[i%7]), i%2 == 0)
	}
	scripts := Scripts(checks)
	f.Fuzz(func(t *testing.T, answer []byte, port uint16, ends bool) {
		end := probe.EndDone
		if ends {
			end = probe.EndClosed
		}
		e := probe.Endpoint{Addr: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Proto: probe.TCP, Port: port}
		facts := service.Converse(e, service.Self{Version: "1", Policy: "https://p.example/"}, scripts, func(a service.Ask) service.Reply {
			if a.TLS && a.StartTLS == nil {
				return service.Reply{End: probe.EndClosed, Handshake: answer}
			}
			return service.Reply{Bytes: answer, End: end}
		})
		for i := range checks {
			v := judge(facts, &checks[i], fuzzedAt)
			checkVerdict(t, &checks[i], facts, v)
			if v.Answer == Vulnerable && len(checks[i].Exchange) > 0 && v.Grade != Suspected {
				t.Errorf("%s: one answer to everything is a proof: %q", v.Check, answer[:min(len(answer), 200)])
			}
		}
	})
}

// A check is read or refused, whatever stands in its file, and one that is read can be asked and judged.
func FuzzCheckFile(f *testing.F) {
	dir, err := embedded.ReadDir("checks")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range dir {
		if strings.HasSuffix(e.Name(), ".yaml") {
			b, err := embedded.ReadFile("checks/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("x.yaml", bytes.Clone(b))
		if err != nil {
			if f, ok := fault.Of(err); !ok || f.Code != fault.Config || f.At.File != "x.yaml" || f.Message == "" {
				t.Fatalf("%#v", err)
			}
			return
		}
		s := c.Script()
		if _, err := json.Marshal(s); err != nil || len(s.Steps) > probe.MaxSteps || s.Check != c.ID || len(s.Steps) > 0 && len(s.Services) == 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		for _, name := range []string{service.HTTP, service.SSH, probe.Unknown} {
			facts := probe.Facts{Outcome: probe.Open, Service: &probe.Service{Name: name}}
			checkVerdict(t, &c, facts, judge(facts, &c, fuzzedAt))
		}
	})
}
