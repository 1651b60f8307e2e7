package web

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/flow"
	"demarc/internal/guide"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

const (
	hour   = int64(time.Hour / time.Microsecond)
	caseID = "0196a000-0000-7000-8000-000000abcdef"
	mailID = "0196a000-0000-7000-8000-0000000a0001"
	// what a tenant may call a machine, and a daemon may say
	hostile = "<script>alert(1)</script>\u202egnp\x1b[31m\" onload=\"x"
)

var began = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// ledger is a database with one case, filled as the line does.
func ledger(t testing.TB) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "demarc.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	commit(t, db, casework.Change{At: began, Inventory: &casework.Inventory{RealAt: began, Snapshot: &asset.Snapshot{Cloud: "lab", Began: began, Ended: began,
		Projects: []asset.Project{{ID: "p-astro", Name: untrusted.From("astro"), Enabled: true}},
		Servers:  []asset.Server{{ID: "s-1", Project: "p-astro", Name: untrusted.From(hostile), Status: "ACTIVE"}},
		Ports:    []asset.Port{{ID: "port-1", Project: "p-astro", Server: "s-1", FixedIPs: []asset.FixedIP{{Addr: netip.MustParseAddr("10.0.0.5")}}}}}}})
	facts := probe.Facts{Outcome: probe.Open}
	f := finding.Finding{ID: "f-1", Key: finding.Key{Cloud: "lab", Server: "s-1", Port: "port-1", Project: "p-astro", Check: "redis-unauth", Locus: "tcp/6379", Zone: probe.Internet},
		Case: caseID, Project: "p-astro", State: finding.Open, Grade: finding.Proved, Severity: "critical", Class: "E", Title: "Redis answers without a password", Revision: 1,
		Endpoint: probe.Endpoint{Addr: netip.MustParseAddr("192.0.2.10"), Proto: probe.TCP, Port: 6379}, Vantage: "outside", Facts: facts.Hash(),
		Evidence: map[string]untrusted.Text{"reply": untrusted.From(hostile)}, FirstSeen: began, LastSeen: began + hour,
		Duty: duty.Resolution{Model: "default", Version: 1, Assignment: "application", Layer: "application", Aspect: "secure", Ownership: duty.CSCOwned, Party: duty.Customer,
			Reason: "the customer secures the applications it runs"}}
	c := casework.Case{ID: caseID, Cloud: "lab", Server: "s-1", Project: "p-astro", Party: duty.Customer, Track: casework.Vulnerability, Zone: probe.Internet, Class: "E",
		State: casework.Queued, OpenedAt: began, ClockFrom: began + hour, Due: began + 96*hour, QueuedAt: began + 120*hour,
		Blocks: []casework.Refusal{{Condition: "mode", Reason: "the mode in force is notify; an action needs enforce"}}}
	m := casework.Mail{ID: mailID, Case: caseID, Step: casework.StepNotice, To: casework.Owner, Recipient: "alice@astro.example", MessageID: "dm-abcdef.notice@security.example",
		QueuedAt: began, Status: casework.Taken, AcceptedAt: began + hour, Deadline: began + 96*hour, Subject: "[DM-ABCDEF] Please fix", Body: "Dear owner,\nclose <port> 6379.\n"}
	commit(t, db, casework.Change{At: began + hour, Facts: []probe.Facts{facts}, Findings: []finding.Finding{f}, Cases: []casework.Case{c}, Mails: []casework.Mail{m},
		Sightings: []finding.Sighting{{Finding: "f-1", At: began, RealAt: began, Verdict: finding.Vulnerable, Vantage: "outside"}},
		Acts:      []casework.Act{{ID: "a-1", Case: caseID, Cloud: "lab", Server: "s-1", Project: "p-astro", Kind: casework.ActQuarantine, State: casework.ActVoid, Ports: []casework.PortOrder{{Port: "port-1"}}, By: []string{"carol"}, IntendedAt: began + 2*hour, Note: "nothing changed in the cloud"}},
		Arm:       []casework.Due{{Case: caseID, Timer: casework.TimerRecheck, At: began + 130*hour}},
		Coverage:  []probe.Coverage{{Cloud: "lab", Vantage: "outside", Purpose: probe.Reach, Began: began, Ended: began + 1, Complete: true, Sent: 12345, Answered: 7, Open: 3}},
		Audit: []audit.Entry{entry(t, "judge", "finding.opened", "", "192.0.2.10:6379/tcp: Redis answers"), entry(t, "judge", "case.opened", "", ""),
			entry(t, "notify", "mail.accepted", "alice@astro.example", "notice")}})
	return db
}

func entry(t testing.TB, step, event, to, detail string) audit.Entry {
	t.Helper()
	b, err := json.Marshal(flow.Happening{At: began + hour, Step: step, Event: event, Case: caseID, Server: untrusted.From(hostile), MailTo: to, Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	return audit.Entry{Actor: "demarc", Kind: event, Case: caseID, Detail: b}
}

func commit(t testing.TB, db *store.DB, c casework.Change) {
	t.Helper()
	if err := db.Commit(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

func site1(t testing.TB, db *store.DB, change func(*Config)) http.Handler {
	t.Helper()
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	zoned := *p
	zoned.TimeZone = "Europe/London"
	c := Config{DB: db, Cloud: "lab", Policy: &zoned, Now: func() int64 { return began + 121*hour }, Contact: "security@lab.example", Sources: []string{"198.51.100.10", hostile}}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func ask(h http.Handler, method, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://"+host+path, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// paths gives every route an address at which there is something.
func paths() []string {
	var out []string
	for _, r := range routes {
		p := strings.ReplaceAll(r.path, "{$}", "")
		if strings.HasPrefix(p, "/mail/") {
			p = "/mail/" + mailID
		}
		p = strings.NewReplacer("{kind}", "check", "{page}", "redis-unauth.html").Replace(p)
		out = append(out, strings.ReplaceAll(p, "{id}", caseID))
	}
	return out
}

// wellFormed reads a page's tags to its end: each that opens is closed, in order.
func wellFormed(page string) error {
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.Entity = true, xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestEveryRouteKeepsItsManners(t *testing.T) {
	t.Parallel()
	h := site1(t, ledger(t), nil)
	for _, path := range append(paths(), "/nowhere", "/case/none", "/mail/none") {
		w := ask(h, http.MethodGet, "127.0.0.1:8080", path)
		want := http.StatusOK
		if path == "/nowhere" || strings.HasSuffix(path, "none") {
			want = http.StatusNotFound
		}
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d\n%s", path, w.Code, want, w.Body)
		}
		header := w.Header()
		csp := header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: the policy %q lacks %s", path, csp, part)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: the policy %q is loose", path, csp)
		}
		for k, v := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
			if header.Get(k) != v {
				t.Errorf("%s: %s is %q, want %q", path, k, header.Get(k), v)
			}
		}
		body := w.Body.String()
		if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			continue
		}
		if err := wellFormed(body); err != nil {
			t.Errorf("%s is not well formed: %v\n%s", path, err, body)
		}
		for _, no := range []string{"<script", "style=", "<style", " on", "javascript:", "http://", "https://"} {
			if no == " on" {
				if strings.Contains(body, " onload=\"") || strings.Contains(body, " onclick=") {
					t.Errorf("%s holds a handler", path)
				}
			} else if strings.Contains(body, no) {
				t.Errorf("%s holds %q", path, no)
			}
		}
		for _, r := range body {
			if r == '\x1b' || r == '\u202e' {
				t.Errorf("%s holds %U", path, r)
				break
			}
		}
	}
}

func TestOnlyReadingIsServed(t *testing.T) {
	t.Parallel()
	h := site1(t, ledger(t), nil)
	for _, path := range append(paths(), "/nowhere") {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, http.MethodTrace, "BREW"} {
			w := ask(h, method, "localhost", path)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
		if w := ask(h, http.MethodHead, "localhost", path); w.Code == http.StatusMethodNotAllowed {
			t.Errorf("HEAD %s is refused", path)
		}
	}
}

func TestOnlyThisMachineIsServed(t *testing.T) {
	t.Parallel()
	h := site1(t, ledger(t), nil)
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8080": 200, "127.0.0.1": 200, "127.77.0.1:9000": 200, "[::1]:8080": 200, "[::1]": 200,
		"demarc.example": 421, "demarc.example:8080": 421, "localhost.evil.example": 421, "127.0.0.1.nip.io": 421, "192.0.2.1": 421, "0.0.0.0:8080": 421, "[::]:80": 421, "evil.example:127": 421,
	} {
		for _, path := range paths() {
			if w := ask(h, http.MethodGet, host, path); w.Code != want {
				t.Errorf("Host %s, %s: %d, want %d", host, path, w.Code, want)
			}
			if w := ask(h, http.MethodGet, host, path); want == 421 && strings.Contains(w.Body.String(), "astro") {
				t.Errorf("Host %s, %s tells what it knows", host, path)
			}
		}
	}
}

func TestPagesSayWhatIsThere(t *testing.T) {
	t.Parallel()
	h := site1(t, ledger(t), nil)
	shown := "&lt;script&gt;alert(1)&lt;/script&gt;"
	for path, want := range map[string][]string{
		"/": {"DM-ABCDEF", shown, "astro", "customer", ">queued<", "5 May 2026 01:00:00 BST", "5 May 00:00:00 UTC", "mail.accepted", "12\u202f345", "connections made", "machine with an address", "alice@astro.example",
			"mode: observe", `aria-current="step"`, ">notify</span>", "1 : 0"},
		"/case/" + caseID: {"Redis answers without a password", "192.0.2.10:6379/tcp", "the customer secures the applications it runs", shown, "finding.opened", "Dear owner,",
			"close &lt;port&gt; 6379.", "carol", "nothing changed in the cloud", "Next: recheck",
			"mode: the mode in force is notify; an action needs enforce", ">void<"},
		"/mail/" + mailID: {"[DM-ABCDEF] Please fix", "close &lt;port&gt; 6379.", "dm-abcdef.notice@security.example", ">accepted<"},
		"/policy":         {"The mode is <strong>observe</strong>: only operators get mail", "cloud_per_hour"},
		"/probing": {"of lab probes", "security@lab.example", "mailto:security@lab.example", "198.51.100.10", "&lt;script&gt;", "No login is guessed", "Nothing is written", "No weakness is exploited", "SECURITY ATTACK",
			`href="/.well-known/probing.txt"`, `href="/probing"`},
		"/.well-known/probing.txt": {"Canonical: http://localhost/.well-known/probing.txt\n", "Contact: mailto:security@lab.example\n", "Expires: 2026-06-05T01:00:00Z\n", "Preferred-Languages: en\n",
			"Description: lab is probed"},
		"/nowhere": {"404", "There is no such page."},
	} {
		body := ask(h, http.MethodGet, "localhost", path).Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not say %q\n%s", path, w, body)
			}
		}
	}
}

func TestAnEmptyLedgerIsShownAsOne(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "demarc.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	body := ask(site1(t, db, nil), http.MethodGet, "localhost", "/").Body.String()
	for _, w := range []string{"There is no case.", "Nothing has happened yet.", "No mail was written yet."} {
		if !strings.Contains(body, w) {
			t.Errorf("the page does not say %q", w)
		}
	}
}

func TestAPageRefreshesOnlyWhenWanted(t *testing.T) {
	t.Parallel()
	db := ledger(t)
	const refresh = `http-equiv="refresh"`
	for _, c := range []struct {
		live bool
		path string
		want bool
	}{{false, "/", false}, {false, "/?live=1", true}, {true, "/", true}, {true, "/?live=0", false}, {true, "/case/" + caseID, true}, {true, "/mail/" + mailID, false}, {true, "/policy", false}, {true, "/probing", false}} {
		h := site1(t, db, func(k *Config) { k.Live = c.live })
		body := ask(h, http.MethodGet, "localhost", c.path).Body.String()
		if strings.Contains(body, refresh) != c.want {
			t.Errorf("live %t, %s: refresh is not %t", c.live, c.path, c.want)
		}
		if c.want && !strings.Contains(body, "Stop refreshing") {
			t.Errorf("live %t, %s: there is no way to stop", c.live, c.path)
		}
	}
}

// Who was probed reads the page whatever state the ledger is in, and without sources or a contact it is still whole.
func TestThePageOfProbingNeedsNothing(t *testing.T) {
	t.Parallel()
	db := ledger(t)
	h := site1(t, db, func(c *Config) { c.Sources, c.Contact, c.Cloud = nil, "not an <address>", "" })
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w := ask(h, http.MethodGet, "localhost", "/probing")
	body := w.Body.String()
	for _, want := range []string{"of this cloud probes", "whether a connection you saw was ours", "Reply to any mail of ours"} {
		if w.Code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%d: the page does not say %q", w.Code, want)
		}
	}
	if strings.Contains(body, "mailto:") {
		t.Error("what is no address is offered as one")
	}
}

func TestABrokenLedgerTellsTheReaderNothing(t *testing.T) {
	t.Parallel()
	db := ledger(t)
	h := site1(t, db, nil)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w := ask(h, http.MethodGet, "localhost", "/")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "sql") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The guidance is at the paths that it has where it is published, and a case leads to it.
func TestGuidanceIsServed(t *testing.T) {
	t.Parallel()
	h := site1(t, ledger(t), nil)
	get := func(path string, want int) string {
		t.Helper()
		w := ask(h, http.MethodGet, "127.0.0.1", path)
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d", path, w.Code, want)
		}
		return w.Body.String()
	}
	index := get("/guidance/", http.StatusOK)
	for _, p := range guide.List() {
		if !strings.Contains(index, `href="/guidance/`+p.Path()+`"`) {
			t.Errorf("the index does not lead to %s", p.ID)
		}
		body := get("/guidance/"+p.Path(), http.StatusOK)
		if err := wellFormed(body); err != nil {
			t.Errorf("%s is not well formed: %v", p.Path(), err)
		}
	}
	for _, path := range []string{"/guidance/check/none.html", "/guidance/duty/redis-unauth.html", "/guidance/check/redis-unauth", "/guidance/check/REDIS-UNAUTH.html"} {
		get(path, http.StatusNotFound)
	}
	for _, want := range []string{`href="/guidance/check/redis-unauth.html"`, "demarc guide show redis-unauth"} {
		if body := get("/case/"+caseID, http.StatusOK); !strings.Contains(body, want) {
			t.Errorf("the case does not hold %s", want)
		}
	}
}
