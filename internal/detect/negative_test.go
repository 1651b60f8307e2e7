package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"demarc/internal/detect/service"
	"demarc/internal/probe"
)

// questions are what a check asks, as recordings name it; a check that asks nothing is judged by the greeting.
func questions(c *Check) []string {
	var out []string
	if len(c.Exchange) == 0 {
		out = append(out, askListen)
	}
	steps := c.Exchange
	if c.Control != nil {
		steps = append(slices.Clone(steps), *c.Control)
	}
	for _, s := range steps {
		switch {
		case s.HTTPGet != "":
			out = append(out, "GET "+s.HTTPGet)
		case s.PGStartup != "":
			out = append(out, "StartupMessage "+s.PGStartup)
		case s.PGTLS != "":
			out = append(out, "StartupMessage "+s.PGTLS, askSSL)
		default:
			out = append(out, Escape([]byte(s.Send)))
		}
	}
	return out
}

func received(t *testing.T, a Recorded) string {
	t.Helper()
	var out strings.Builder
	for _, piece := range a.Received {
		b, err := unescape(piece)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	return out.String()
}

// A refusal counts only as a whole: each answer that a negative rests on, cut at each byte, proves no fix.
func TestCutAnswersProveNoFix(t *testing.T) {
	t.Parallel()
	checks, recordings := bundle(t)
	cuts := 0
	for i := range recordings {
		r := &recordings[i]
		for id, want := range r.Expect {
			if want != NotVulnerable || id == "tls-expired" { // a certificate is judged by its dates, not by an answer
				continue
			}
			c := &checks[indexOf(checks, id)]
			for n, a := range r.Answers {
				if !slices.Contains(questions(c), a.Ask) || a.Ask != askListen && withAnswer(r, c, n, "", probe.EndTimeout) == NotVulnerable {
					continue // the verdict does not rest on it: the control is not always needed
				}
				whole := received(t, a)
				for cut := 1; cut < len(whole); cut += 1 + min(6, max(0, min(cut-64, len(whole)-cut-16))) {
					for _, end := range []string{probe.EndClosed, probe.EndTimeout} {
						if withAnswer(r, c, n, whole[:cut], end) == NotVulnerable {
							t.Errorf("%s on %s: %q cut to %d of %d bytes (%s) proves a fix", id, r.Name, a.Ask, cut, len(whole), end)
						}
						cuts++
					}
				}
			}
		}
	}
	t.Logf("%d cut answers", cuts)
}

// withAnswer judges a recording with another answer to its question n; "" where the check does not apply then.
func withAnswer(r *Recording, c *Check, n int, answer, end string) Answer {
	other := *r
	other.Answers = slices.Clone(r.Answers)
	other.Answers[n].Received, other.Answers[n].End = probe.Strings{Escape([]byte(answer))}, end
	v := judge(other.Observe([]Check{*c}).Facts, c, micro(r.At))
	if !v.Applies {
		return ""
	}
	return v.Answer
}

// A web server that refuses by status is asked for a path that can not exist as well.
func TestEveryRefusalByStatusHasAControl(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	for _, c := range checks {
		for n, s := range c.Exchange {
			for _, b := range s.Else {
				// Where an earlier step was answered as expected, that answer is the control.
				if s.HTTPGet != "" && n == 0 && b.Answer == NotVulnerable && !slices.Equal(b.Status, probe.Numbers{200}) && b.Control == nil {
					t.Errorf("%s: %s answered with %v proves a fix without a control", c.ID, s.HTTPGet, b.Status)
				}
				if b.Answer == NotVulnerable && (b.Status.Has(400) || b.Status.Has(429) || b.Status.Has(500) || b.Status.Has(503)) {
					t.Errorf("%s: a request that was not served proves a fix", c.ID)
				}
			}
		}
	}
}

// What lists under every path is suspected and not proved: the path that can not exist is one of them.
func TestAListUnderEveryPathIsNotProved(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	for name, grade := range map[string]Grade{"listing-everywhere": Suspected, "nginx-autoindex": Proved} {
		r := recordingNamed(t, name)
		for _, v := range Judge(r.Observe(checks).Facts, checks, micro(r.At)) {
			if v.Check == "directory-listing" && (v.Answer != Vulnerable || v.Grade != grade) {
				t.Errorf("%s: %s, %s", name, v.Answer, v.Grade)
			}
		}
	}
}

// A check that proves a weakness by asking ends with a question that the weakness alone does not answer.
func TestEveryProofEndsWithAControl(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	for _, c := range checks {
		if c.Grade != Proved || len(c.Exchange) == 0 {
			continue
		}
		if len(c.Exchange) < 2 || c.Exchange[len(c.Exchange)-1].Expect == nil {
			t.Errorf("%s is proved by one question", c.ID)
		}
	}
}

// A peer that sends back, contradicts itself, accepts everywhere or floods proves no fix, whatever it says.
func TestASuspectPeerProvesNoFix(t *testing.T) {
	t.Parallel()
	checks, recordings := bundle(t)
	for i := range recordings {
		f := recordings[i].Observe(checks).Facts
		for _, flag := range []string{probe.FlagTarpit, probe.FlagEcho, probe.FlagContradiction, probe.FlagFlood, probe.FlagTLSFailed} {
			f.Service.Flags = []string{flag}
			for _, v := range Judge(f, checks, micro(recordings[i].At)) {
				if v.Answer == NotVulnerable && !(flag == probe.FlagTLSFailed && v.Applies) {
					t.Errorf("%s on %s with the flag %s: %s", v.Check, recordings[i].Name, flag, v.Because)
				}
			}
		}
	}
}

// The dates of support are held against the time of judgement, and the last day is included.
func TestSupportEndsOnItsDate(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	for _, c := range []struct {
		banner, at string
		want       Answer
	}{
		{"OpenSSH_5.5p1 Debian-6+squeeze5", "2016-02-29T23:59:59Z", NotVulnerable},
		{"OpenSSH_5.5p1 Debian-6+squeeze5", "2016-03-01T00:00:00Z", Vulnerable},
		{"OpenSSH_3.8.1p1 Debian-8.sarge.6", "2026-11-29T00:00:00Z", Vulnerable},
		{"OpenSSH_4.3p2 Debian-9etch3", "2026-11-29T00:00:00Z", Vulnerable},
		{"OpenSSH_5.1p1 Debian-5+lenny1", "2026-11-29T00:00:00Z", Vulnerable},
		{"OpenSSH_6.0p1 Debian-4+deb7u7", "2018-06-01T00:00:00Z", Vulnerable},
		{"OpenSSH_7.9p1 Debian-10+deb10u2", "2024-06-30T12:00:00Z", NotVulnerable},
		{"OpenSSH_7.9p1 Debian-10+deb10u2", "2024-07-01T00:00:00Z", Vulnerable},
		{"OpenSSH_8.4p1 Debian-5+deb11u5", "2024-08-14T23:00:00Z", NotVulnerable},
		{"OpenSSH_8.4p1 Debian-5+deb11u5", "2026-08-31T23:59:59Z", Inconclusive},
		{"OpenSSH_8.4p1 Debian-5+deb11u5", "2026-09-01T00:00:00Z", Vulnerable},
		{"OpenSSH_9.2p1 Debian-2+deb12u3", "2028-06-30T23:59:59Z", NotVulnerable},
		{"OpenSSH_9.2p1 Debian-2+deb12u3", "2028-07-01T00:00:00Z", Vulnerable},
		{"OpenSSH_10.0p1 Debian-7+deb13u1", "2026-11-29T00:00:00Z", NotVulnerable},
		{"OpenSSH_10.0p1 Debian-7+deb13u1", "2030-07-01T00:00:00Z", Vulnerable},
		{"OpenSSH_11.0p1 Debian-1+deb14u1", "2031-01-01T00:00:00Z", Inconclusive},
	} {
		s, _ := service.Classify([]byte("SSH-2.0-" + c.banner + "\r\n"))
		f := probe.Facts{Outcome: probe.Open, Service: s}
		v := judge(f, &checks[indexOf(checks, "eol-os-debian")], micro(c.at))
		if v.Answer != c.want {
			t.Errorf("%s at %s: %s, want %s", c.banner, c.at, v.Answer, c.want)
		}
	}
}

// Both ends of a certificate's time are held against the time of judgement.
func TestACertificateIsJudgedByBothDates(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	c := &checks[indexOf(checks, "tls-expired")]
	at := func(s string) int64 { return micro(s) }
	for _, x := range []struct {
		name          string
		before, after int64
		now           string
		want          Answer
	}{
		{"within", at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), "2026-11-29T00:00:00Z", NotVulnerable},
		{"its first moment", at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), "2026-01-01T00:00:00Z", NotVulnerable},
		{"its last moment", at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), "2027-01-01T00:00:00Z", NotVulnerable},
		{"over", at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), "2027-01-01T00:00:01Z", Vulnerable},
		{"not begun", at("2028-01-01T00:00:00Z"), at("2029-01-01T00:00:00Z"), "2026-11-29T00:00:00Z", Inconclusive},
		{"over before it began", at("2028-01-01T00:00:00Z"), at("2020-01-01T00:00:00Z"), "2026-11-29T00:00:00Z", Vulnerable},
		{"no beginning", 0, at("2027-01-01T00:00:00Z"), "2026-11-29T00:00:00Z", Inconclusive},
		{"no end", at("2026-01-01T00:00:00Z"), 0, "2026-11-29T00:00:00Z", Inconclusive},
		{"no dates", 0, 0, "2026-11-29T00:00:00Z", Inconclusive},
	} {
		shown := &probe.TLS{NotBefore: x.before, NotAfter: x.after}
		f := probe.Facts{Outcome: probe.Open, Service: &probe.Service{Name: service.HTTP, TLS: shown}}
		if v := judge(f, c, micro(x.now)); v.Answer != x.want {
			t.Errorf("%s: %s (%s), want %s", x.name, v.Answer, v.Because, x.want)
		}
	}
}

// Mistakes in the words that only some checks use.
func TestMistakesInFurtherWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, old, replacement, want string }{
		{"eol-os-debian", `debian 12: "2028-06-30"`, `debian 12: "2028-06-31"`, `debian 12: "2028-06-31" is no date`},
		{"eol-os-debian", "  fact: release\n", "", "the support names no fact, or no dates"},
		{"eol-os-debian", "support:\n", "refs: {}\nnever:\n", ""},
		{"git-exposed", "control:\n  http_get: /demarc-c41e8d27\n", "control:\n  http_get: demarc\n", "can not be asked for"},
		{"git-exposed", "control:\n  http_get: /demarc-c41e8d27\n", "control:\n  http_get: /x\n  expect: {status: 404}\n",
			"what the answer to the control means is said by branches"},
		{"postgres-trust", "pg: admitted}\n    else", "pg: allowed}\n    else", "accepted: admitted, refused, no-tls"},
		{"directory-listing", "grade: suspected", "grade: certain", "accepted: proved, stated, observed, inferred, suspected"},
		{"postgres-trust", "control:\n  pg_tls: demarc-no-such-role\n", "", "a control that is not asked"},
	} {
		text, err := embedded.ReadFile("checks/" + c.file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		wrong := strings.Replace(string(text), c.old, c.replacement, 1)
		if wrong == string(text) {
			t.Fatalf("%s: the mistake %q was not made", c.file, c.old)
		}
		if _, err := Parse(c.file+".yaml", []byte(wrong)); err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: got %v, want %s", c.file, err, c.want)
		}
	}
}

// Every date of the checks is one that has been announced: none lies further off than a release is supported.
func TestDatesOfSupportAreInOrder(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	s := checks[indexOf(checks, "eol-os-debian")].Support
	var before time.Time
	for n := 3; n <= 13; n++ {
		d, err := day(s.Ends[fmt.Sprintf("debian %d", n)])
		if err != nil || !d.After(before) {
			t.Errorf("debian %d ends %v, and the one before on %v: %v", n, d, before, err)
		}
		before = d
	}
}

// Each condition that keeps a verdict from claiming too much is held by a recording: without the condition, one of them is judged wrongly.
func TestEveryConditionIsHeldByARecording(t *testing.T) {
	t.Parallel()
	checks, recordings := bundle(t)
	wrong := func(c Check) bool {
		for i := range recordings {
			for _, trial := range Replay(&recordings[i], []Check{c}) {
				if !trial.Passed() {
					return true
				}
			}
		}
		return false
	}
	for _, c := range checks {
		if wrong(c) {
			t.Fatalf("%s is judged wrongly as it is", c.ID)
		}
		for n := range c.Exchange {
			altered := func(change func(*Step)) Check {
				other := c
				other.Exchange = slices.Clone(c.Exchange)
				other.Exchange[n].Else = slices.Clone(c.Exchange[n].Else)
				change(&other.Exchange[n])
				return other
			}
			if n > 0 && !wrong(altered(func(s *Step) { s.Expect = nil })) {
				t.Errorf("%s: any answer to step %d would do", c.ID, n+1)
			}
			for b, branch := range c.Exchange[n].Else {
				if branch.Control != nil && !wrong(altered(func(s *Step) { s.Else[b].Control = nil })) {
					t.Errorf("%s: step %d, branch %d needs no control", c.ID, n+1, b+1)
				}
				if branch.Grade == "" && !wrong(altered(func(s *Step) { s.Else = slices.Delete(s.Else, b, b+1) })) {
					t.Errorf("%s: step %d, branch %d decides nothing", c.ID, n+1, b+1)
				}
			}
		}
		for b := range c.Verdict {
			other := c
			other.Verdict = slices.Delete(slices.Clone(c.Verdict), b, b+1)
			if c.Verdict[b].Answer != Inconclusive && c.Locus != "host" && !wrong(other) { // without a branch it is inconclusive as well
				t.Errorf("%s: branch %d decides nothing", c.ID, b+1)
			}
		}
	}
}
