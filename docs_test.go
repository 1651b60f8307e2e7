package demarc_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/casework/gate"
	"demarc/internal/detect"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/serve"
)

// pages are the texts that describe the program.
func pages(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, n := range append(names, "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md") {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.ToSlash(n)] = b
	}
	return out
}

// The first cell of a row that holds nothing but one word of the program.
var rowWord = regexp.MustCompile("(?m)^\\| `([a-z0-9_-]+)` \\|")

// tableWords lists the words that have a row of their own between two headings.
func tableWords(t *testing.T, page []byte, heading string) []string {
	t.Helper()
	_, rest, found := bytes.Cut(append([]byte("\n"), page...), []byte("\n"+heading+"\n"))
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	part, _, _ := bytes.Cut(rest, []byte("\n#"))
	var out []string
	for _, m := range rowWord.FindAllSubmatch(part, -1) {
		out = append(out, string(m[1]))
	}
	return out
}

func same(t *testing.T, what string, page, code []string) {
	t.Helper()
	for _, w := range code {
		if !slices.Contains(page, w) {
			t.Errorf("%s: %q is in the code and has no row", what, w)
		}
	}
	for _, w := range page {
		if !slices.Contains(code, w) {
			t.Errorf("%s: %q has a row and is not in the code", what, w)
		}
	}
}

// What the pages list is what there is, no more and no less.
func TestDocsListWhatThereIs(t *testing.T) {
	p := pages(t)
	var conditions []string
	for _, c := range gate.Conditions {
		conditions = append(conditions, c.Name)
	}
	same(t, "docs/cases.md, the gate", tableWords(t, p["docs/cases.md"], "## The gate"), conditions)

	var states []string
	for _, s := range []finding.State{finding.Suspicion, finding.Open, finding.Claimed, finding.Fixed, finding.Closed, finding.Unverifiable, finding.Moot, finding.Dropped, finding.AttributionHold} {
		states = append(states, string(s))
	}
	same(t, "docs/cases.md, findings", tableWords(t, p["docs/cases.md"], "## Findings"), states)

	var mails []string
	for _, s := range []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepRestricted, casework.StepReleased,
		casework.StepClosed, casework.StepRelapse, casework.StepEscalation, casework.StepApproval, casework.StepRefused,
		casework.StepHeld, casework.StepTampered, casework.StepWithdrawn, casework.StepPassed, casework.StepStatus,
		casework.StepStillOpen, casework.StepReturned, casework.StepNoVerdict, casework.StepObserved} {
		mails = append(mails, string(s))
	}
	same(t, "docs/cases.md, mails", tableWords(t, p["docs/cases.md"], "## Mails"), mails)

	checks, err := detect.Load()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range checks {
		ids = append(ids, checks[i].ID)
	}
	same(t, "docs/checks.md", tableWords(t, p["docs/checks.md"], "# Checks"), ids)
	same(t, "docs/checks.md, the configuration", tableWords(t, p["docs/checks.md"], "## What the configuration alone shows"), flow.PostureChecks())
	for i := range checks {
		same(t, "docs/checks.md, "+checks[i].ID, weighed(t, p["docs/checks.md"], checks[i].ID), []string{string(checks[i].Severity) + " " + string(checks[i].Class)})
	}
	for _, id := range flow.PostureChecks() {
		var ws []string
		for _, w := range flow.Weights(id) {
			ws = append(ws, w.Severity+" "+w.Class)
		}
		if got := weighed(t, p["docs/checks.md"], id); len(ws) == 0 || !slices.Equal(got, ws) {
			t.Errorf("docs/checks.md, %s: the row says %q, the code %q", id, got, ws)
		}
	}
	inWords := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}
	if says := fmt.Sprintf("| %s checks of what a machine answers, and %s of the configuration (", inWords[len(ids)], inWords[len(flow.PostureChecks())]); !bytes.Contains(p["docs/limits.md"], []byte(says)) {
		t.Errorf("docs/limits.md does not say %q", says)
	}
	for _, id := range []string{flow.CheckLeak, flow.CheckBlocked} {
		if !bytes.Contains(p["docs/checks.md"], []byte("`"+id+"`")) {
			t.Errorf("docs/checks.md does not name %s", id)
		}
	}
	var codes []string
	for _, c := range serve.Codes {
		codes = append(codes, string(c))
	}
	same(t, "docs/doctor.md", tableWords(t, p["docs/doctor.md"], "## Codes"), codes)
	for _, s := range []casework.State{casework.New, casework.Notified, casework.Acknowledged, casework.Overdue, casework.FinalWarning, casework.Queued, casework.Restricted, casework.Verifying,
		casework.Released, casework.Verified, casework.Closed, casework.OnHold, casework.Moot} {
		if !bytes.Contains(p["docs/cases.md"], []byte(string(s))) {
			t.Errorf("docs/cases.md does not name the state %s", s)
		}
	}
}

var (
	severityWord = regexp.MustCompile(`\b(critical|high|medium|low|info)\b`)
	classWord    = regexp.MustCompile(`\b[XECHMLBU]\b`)
)

// weighed lists what the row of a check says of severity and class, in order: the usual, then what else it can be.
func weighed(t *testing.T, page []byte, check string) []string {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(check) + "` \\| ([^|]+) \\| ([^|]+) \\|").FindSubmatch(page)
	if row == nil {
		t.Errorf("%s has no row", check)
		return nil
	}
	severities, classes := severityWord.FindAllString(string(row[1]), -1), classWord.FindAllString(string(row[2]), -1)
	var out []string
	for i := range min(len(severities), len(classes)) {
		out = append(out, severities[i]+" "+classes[i])
	}
	if len(severities) != len(classes) {
		t.Errorf("%s: %d severities and %d classes", check, len(severities), len(classes))
	}
	return out
}

func strs[T ~string](ws []T) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = string(w)
	}
	return out
}

// docs/duties.md tells the closed lists, the contradictions of the model, and an addition to it that loads.
func TestDocsDuties(t *testing.T) {
	page := pages(t)["docs/duties.md"]
	same(t, "docs/duties.md, layers", tableWords(t, page, "## Layers"), strs(duty.Layers))
	same(t, "docs/duties.md, aspects", tableWords(t, page, "## Aspects"), strs(duty.Aspects))
	same(t, "docs/duties.md, ownership", tableWords(t, page, "## Ownership"), strs(duty.Ownerships))
	same(t, "docs/duties.md, records", tableWords(t, page, "## The formats"), duty.RecordNames())
	m, err := duty.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range m.Conflicts {
		if !bytes.Contains(page, []byte("\n| "+k.ID+" | ")) {
			t.Errorf("docs/duties.md: the contradiction %s has no row", k.ID)
		}
	}
	if n := bytes.Count(page, []byte("\n| C")); n != len(m.Conflicts) {
		t.Errorf("docs/duties.md: %d contradictions, the model has %d", n, len(m.Conflicts))
	}
	if want := strconv.Itoa(len(m.Duties)) + " duties"; !bytes.Contains(page, []byte(want)) {
		t.Errorf("docs/duties.md does not say %q", want)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	addition, _, _ := strings.Cut(rest, "```")
	mine, err := duty.Parse("mine.yaml", []byte(duty.DefaultText()+addition))
	if err != nil {
		t.Fatalf("docs/duties.md: the addition does not load: %v", err)
	}
	at := time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC).UnixMicro() // under the second contract
	if got := mine.Resolve("guest-os", "secure", mine.Describe(duty.Resource{Project: "p-astro"}, at)); got.Assignment != "guest-os-astro" || got.Resource.ContractID != "astro-2027" {
		t.Errorf("docs/duties.md: the addition leads to %s under %q", got.Assignment, got.Resource.ContractID)
	}
}

// The rooms of the page are the rooms of the law, in its order, with its captions.
func TestDocsRooms(t *testing.T) {
	page := string(pages(t)["docs/architecture.md"])
	at := 0
	for _, r := range rooms {
		row := "| `" + r.path + "` | " + r.caption
		i := strings.Index(page[at:], row)
		if i < 0 {
			t.Errorf("docs/architecture.md: no row %q in its place", row)
			continue
		}
		at += i
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	number = map[int]string{
		16: "sixteen",
		17: "seventeen",
		18: "eighteen",
		19: "nineteen",
		20: "twenty",
		21: "twenty-one",
		22: "twenty-two",
		23: "twenty-three",
		24: "twenty-four",
		25: "twenty-five",
		26: "twenty-six",
		27: "twenty-seven",
		28: "twenty-eight",
		29: "twenty-nine",
		30: "thirty",
		31: "thirty-one",
		32: "thirty-two",
	}
)

// Every link of a page that leads into the tree leads somewhere.
func TestDocsLinks(t *testing.T) {
	for name, b := range pages(t) {
		for _, m := range link.FindAllSubmatch(b, -1) {
			to, _, _ := strings.Cut(string(m[1]), "#")
			if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), to)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, to)
			}
		}
	}
}

// The README fits on a few screens, and counts right.
func TestDocsReadme(t *testing.T) {
	b := pages(t)["README.md"]
	if n := bytes.Count(b, []byte("\n")); n > 150 {
		t.Errorf("README.md has %d lines, more than 150", n)
	}
	if want := number[len(gate.Conditions)] + " conditions"; want[0] == ' ' || !bytes.Contains(b, []byte(want)) {
		t.Errorf("README.md does not say %q", want)
	}
}

// The overviews stay overviews.
func TestDocsLength(t *testing.T) {
	if n := bytes.Count(pages(t)["docs/architecture.md"], []byte("\n")); n > 200 {
		t.Errorf("docs/architecture.md has %d lines, more than 200", n)
	}
}

var (
	flowStep  = regexp.MustCompile(`(?m)^\t\{"(\w+)", \(\*Line\)\.\w+\},$`)
	flowOrder = regexp.MustCompile(`always in this order: ([a-z,\s]+)\.`)
	fileName  = regexp.MustCompile("`([a-z]+\\.go)`")
)

// docs/architecture.md tells the order that the runner takes, and has a place for each file of the line.
func TestDocsTellTheOrderOfTheLine(t *testing.T) {
	code, err := os.ReadFile("internal/flow/flow.go")
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, m := range flowStep.FindAllSubmatch(code, -1) {
		steps = append(steps, string(m[1]))
	}
	page := pages(t)["docs/architecture.md"]
	told := flowOrder.FindSubmatch(page)
	if told == nil || len(steps) < 10 {
		t.Fatalf("the code has the steps %q, and the page says %q", steps, told)
	}
	if got := strings.FieldsFunc(string(told[1]), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }); !slices.Equal(got, steps) {
		t.Errorf("docs/architecture.md: the order is %q, in the code %q", got, steps)
	}
	_, line, _ := bytes.Cut(page, []byte("\n## The line\n"))
	line, _, _ = bytes.Cut(line, []byte("\n## "))
	var placed, files []string
	for _, m := range fileName.FindAllSubmatch(line, -1) {
		placed = append(placed, string(m[1]))
	}
	paths, err := filepath.Glob("internal/flow/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if name := filepath.Base(p); !strings.HasSuffix(name, "_test.go") {
			files = append(files, name)
		}
	}
	same(t, "docs/architecture.md, the files of the line", placed, files)
}

var quoted = regexp.MustCompile("`([a-z_]+)`")

// docs/cases.md lists, for each state, the timers and mails that the code requires in it.
func TestDocsTellWhatACaseNeeds(t *testing.T) {
	_, section, _ := strings.Cut(string(pages(t)["docs/cases.md"]), "\n### What is checked every day\n")
	section, _, _ = strings.Cut(section, "\n### ")
	told := map[string][]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !quoted.MatchString(cells[1]) {
			continue
		}
		var words []string
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			if !slices.Contains([]string{"observe", "notified"}, m[1]) {
				words = append(words, m[1])
			}
		}
		slices.Sort(words)
		told[quoted.FindStringSubmatch(cells[1])[1]] = slices.Compact(words)
	}
	for _, s := range []casework.State{casework.New, casework.Notified, casework.Acknowledged, casework.Overdue, casework.FinalWarning,
		casework.Queued, casework.Restricted, casework.Verifying, casework.Released,
		casework.Verified, casework.Closed, casework.OnHold, casework.Moot} {
		if want := neededIn(t, s); !slices.Equal(told[string(s)], want) {
			t.Errorf("docs/cases.md: in %s a case needs %q, and the page says %q", s, want, told[string(s)])
		}
	}
}

// neededIn lists the timers and mails that cases of all kinds need in a state.
func neededIn(t *testing.T, s casework.State) []string {
	t.Helper()
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	const day = int64(24 * 3600 * 1_000_000)
	var out []string
	for i := range 1 << 7 {
		is := func(bit int) bool { return i>>bit&1 == 1 }
		c := casework.Case{ID: "c", State: s, Party: duty.Customer, Class: "E", Zone: "internet", Act: "act", OpenedAt: day,
			Due: 10 * day, GraceEnds: 10 * day, FinalAt: day,
			Notices: []casework.Notice{{Step: casework.StepNotice, AcceptedAt: day, Announced: casework.Announced{End: policy.Quarantine}}}}
		f := finding.Finding{ID: "f", State: finding.Open, Class: "E"}
		now, mode := 5*day, policy.Enforce
		if is(0) {
			c.Party = duty.Provider
		}
		if is(1) {
			n := casework.Notice{Step: casework.StepRelapse, AcceptedAt: 3 * day, Announced: casework.Announced{End: policy.Quarantine}}
			c.RelapsedAt, c.Notices = 2*day, append(c.Notices, n)
		}
		if is(2) {
			c.Class = "H"
		}
		if is(3) {
			now = 20 * day
		}
		if is(4) {
			mode = policy.Notify
		}
		if is(5) {
			c.Approvals, c.Stopped = []casework.Approval{{By: "olga"}}, true
		}
		if is(6) {
			f.Negatives, f.GoodSince, f.LastGood = 2, day, 2*day
		}
		for _, n := range casework.Needs(casework.Dossier{Case: c, Findings: []finding.Finding{f}}, p.InMode(mode), false, now) {
			for _, timer := range n.Timers {
				out = append(out, string(timer))
			}
			if n.Step != "" {
				out = append(out, string(n.Step))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
