package notice_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/casework/notice"
	"demarc/internal/duty"
	"demarc/internal/finding"
	"demarc/internal/policy"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

var update = flag.Bool("update", false, "rewrite the letters in testdata")

var contacts = notice.Contacts{From: "cert@cloud.example", Provider: "ops@cloud.example", Operators: "duty@cloud.example", Domain: "cloud.example"}

// person is a user of the cloud with a role.
type person struct {
	id, mail, role string
	disabled       bool
	elsewhere      bool // the role is on another project
}

func project(creator string, people ...person) *asset.Index {
	s := &asset.Snapshot{Cloud: "cloud", Servers: []asset.Server{{ID: "s1", Project: "p1", Creator: asset.UserID(creator)}}}
	for _, p := range people {
		s.Users = append(s.Users, asset.User{ID: asset.UserID(p.id), Mail: p.mail, Enabled: !p.disabled})
		at := asset.ProjectID("p1")
		if p.elsewhere {
			at = "p2"
		}
		s.Grants = append(s.Grants, asset.Grant{User: asset.UserID(p.id), Project: at, Role: p.role})
	}
	return asset.NewIndex(s)
}

func TestRecipients(t *testing.T) {
	ann := person{id: "ann", mail: "ann@example.org", role: "member"}
	bob := person{id: "bob", mail: "bob@example.org", role: "admin"}
	eve := person{id: "eve", mail: "eve@example.org", role: "reader"}
	with := func(p person, how func(*person)) person { how(&p); return p }
	for _, c := range []struct {
		name string
		x    *asset.Index
		to   casework.Audience
		want string
	}{
		{name: "the creator", x: project("ann", bob, ann), to: casework.Owner, want: "ann@example.org as creator"},
		{name: "a creator who left", x: project("ann", bob, with(ann, func(p *person) { p.elsewhere = true })), to: casework.Owner, want: "bob@example.org as admin"},
		{name: "a creator whose account is disabled", x: project("ann", bob, with(ann, func(p *person) { p.disabled = true })), to: casework.Owner, want: "bob@example.org as admin"},
		{name: "a creator without an address", x: project("ann", bob, with(ann, func(p *person) { p.mail = "" })), to: casework.Owner, want: "bob@example.org as admin"},
		{name: "a creator who smuggles a header", x: project("ann", bob, with(ann, func(p *person) { p.mail = "ann@example.org\r\nBcc: all@example.org" })), to: casework.Owner, want: "bob@example.org as admin"},
		{name: "a creator unknown to the cloud", x: project("zoe", bob, ann), to: casework.Owner, want: "bob@example.org as admin"},
		{name: "managers are admins", x: project("", ann, person{id: "max", mail: "max@example.org", role: "manager"}), to: casework.Owner, want: "max@example.org as manager"},
		{name: "members when no admin can be reached", x: project("", ann, with(bob, func(p *person) { p.mail = "bob@example.org, eve@example.org" })), to: casework.Owner, want: "ann@example.org as member"},
		{name: "readers are not told", x: project("", eve), to: casework.Owner, want: "duty@cloud.example as operators"},
		{name: "nobody", x: project(""), to: casework.Owner, want: "duty@cloud.example as operators"},
		{name: "three at most, each once", x: project("", bob, bob, person{id: "b2", mail: "b2@example.org", role: "admin"}, person{id: "b3", mail: "bob@example.org", role: "manager"}, person{id: "b4", mail: "b4@example.org", role: "admin"}, person{id: "b5", mail: "b5@example.org", role: "admin"}), to: casework.Owner,
			want: "bob@example.org as admin, b2@example.org as admin, b4@example.org as admin"},
		{name: "the provider", x: project("ann", ann), to: casework.Provider, want: "ops@cloud.example as provider"},
		{name: "the operators", x: project("ann", ann), to: casework.Operators, want: "duty@cloud.example as operators"},
	} {
		var got []string
		for _, r := range notice.Recipients(c.x, casework.Case{Server: "s1", Project: "p1"}, c.to, contacts) {
			got = append(got, r.Address+" as "+r.As)
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

var noAddresses = []string{"", "ann", "@example.org", "ann@", "a@b\r\nBcc: c@d", "a@b c@d", "a@b\nc@d", "a@b \u200b", "a@exa\u202emple", "a@-ü", "a@ü..example", "a@b,c@d", "a@b;c@d", "Ann <a@b>", "<a@b>", "a@b (Ann)", `"a b"@c`, "a@b\x00", "a\x1b[31m@b", "a@\u202eb", "a\u200b@b", "a@b\u2028c", "a@[127.0.0.1]",
	strings.Repeat("a", 250) + "@b.example", "a@b@c", "a\xff@b"}

func TestCheckAddress(t *testing.T) {
	for _, s := range noAddresses {
		if a, ok := notice.CheckAddress(s); ok {
			t.Errorf("%q is taken for the address %q", s, a)
		}
	}
	for _, s := range []string{"ann@example.org", "a.b+c@sub.example.org", "o'hara@example.org", "root@localhost", "änn@example.org", "a@sub_net.example", "A@Example.ORG", "a@xn--bcher-kva.example"} {
		if a, ok := notice.CheckAddress(s); !ok || a != s {
			t.Errorf("%q is refused", s)
		}
	}
	for s, want := range map[string]string{"ann@example.org ": "ann@example.org", "\tann@example.org\r\n": "ann@example.org", "\u00a0ann@example.org": "ann@example.org",
		"ann@bücher.example": "ann@xn--bcher-kva.example", "ann@BÜCHER.example": "ann@xn--bcher-kva.example", " jürgen@bücher.example ": "jürgen@xn--bcher-kva.example", "ann@例え.テスト": "ann@xn--r8jz45g.xn--zckzah"} {
		if a, ok := notice.CheckAddress(s); !ok || a != want {
			t.Errorf("%q is read as %q, want %q", s, a, want)
		}
	}
	if notice.Plain("jürgen@example.org") || !notice.Plain("ann@xn--bcher-kva.example") {
		t.Error("what every server takes is ASCII")
	}
}

// Whatever passes is one address, on one line, and shows.
func TestAnAddressIsOneAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(noAddresses).Draw(t, "left") + rapid.StringN(0, 8, 24).Draw(t, "middle") + "@" + rapid.SampledFrom([]string{"example.org", "b\r\n", ""}).Draw(t, "right")
		a, ok := notice.CheckAddress(s)
		if !ok {
			return
		}
		again, same := notice.CheckAddress(a)
		if !same || again != a || strings.Count(a, "@") != 1 || strings.ContainsFunc(a, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) || strings.ContainsRune("<>,;", r) }) {
			t.Fatalf("%q", a)
		}
	})
}

var allSteps = []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepRestricted, casework.StepReleased,
	casework.StepClosed, casework.StepRelapse, casework.StepEscalation, casework.StepApproval, casework.StepRefused,
	casework.StepHeld, casework.StepTampered, casework.StepWithdrawn, casework.StepPassed, casework.StepStatus,
	casework.StepStillOpen, casework.StepReturned, casework.StepNoVerdict, casework.StepObserved}

// A second time that a quarantine is undone, and a second hold for the same reason, have a mail of their own.
func TestRepeatedReportsHaveMessageIDsOfTheirOwn(t *testing.T) {
	id := func(c casework.Case, s casework.Step) string {
		return notice.New("id", c, s, casework.Operators, "a@example.org", "cloud.example", 5).MessageID
	}
	first := casework.Case{ID: "01998a5e-0000-7000-8000-000000abcdef", RestrictedAt: 3, Tampers: 1, Hold: "why", HeldAt: 7}
	second := first
	second.Tampers, second.HeldAt = 2, 8
	for _, s := range []casework.Step{casework.StepTampered, casework.StepHeld} {
		if id(first, s) == id(second, s) {
			t.Errorf("%s: both have %s", s, id(first, s))
		}
	}
}

// A Message-ID follows from the case, the step, the recipient and the round, and from nothing else.
func TestMessageIDs(t *testing.T) {
	base := casework.Case{ID: "01998a5e-0000-7000-8000-000000abcdef"}
	twin := casework.Case{ID: "01998a5f-1111-7000-8000-999999abcdef"} // the same short name
	round := base
	round.RelapsedAt, round.QueuedAt, round.RestrictedAt, round.ReleasedAt = 1, 2, 3, 4
	round.PassedAt, round.NoVerdictAt, round.Hold = 5, 6, "why"
	if base.Ref() != twin.Ref() {
		t.Fatal("the cases do not share a short name")
	}
	once := map[casework.Step]bool{
		casework.StepNotice:    true,
		casework.StepFinal:     true,
		casework.StepClosed:    true,
		casework.StepWithdrawn: true,
		casework.StepReturned:  true,
		casework.StepObserved:  true,
	}
	seen := map[string]string{}
	for _, s := range allSteps {
		for _, to := range []string{"a@example.org", "b@example.org"} {
			for name, c := range map[string]casework.Case{"base": base, "twin": twin} {
				m := notice.New("id", c, s, casework.Owner, to, "cloud.example", 5)
				what := fmt.Sprint(name, " ", s, " ", to)
				if other, ok := seen[m.MessageID]; ok {
					t.Errorf("%s and %s are both %s", what, other, m.MessageID)
				}
				seen[m.MessageID] = what
				c.Notices, c.Version, c.Due = []casework.Notice{{}}, 9, 77
				if s != casework.StepStatus { // which tells each state once
					c.State = casework.Queued
				}
				if again := notice.New("other", c, s, casework.Operators, to, "cloud.example", 6); again.MessageID != m.MessageID {
					t.Errorf("%s: %s and %s", what, m.MessageID, again.MessageID)
				}
				root := notice.New("id", c, casework.StepNotice, casework.Owner, to, "cloud.example", 5).MessageID
				if want := map[bool]string{false: root}[s == casework.StepNotice]; m.Thread != want {
					t.Errorf("%s: thread %q, want %q", what, m.Thread, want)
				}
				if strings.ContainsAny(m.MessageID, "<> \r\n_") || !strings.HasSuffix(m.MessageID, "@cloud.example") || strings.Count(m.MessageID, "@") != 1 {
					t.Errorf("%s: %q is no Message-ID", what, m.MessageID)
				}
			}
			a := notice.New("id", base, s, casework.Owner, to, "cloud.example", 5).MessageID
			b := notice.New("id", round, s, casework.Owner, to, "cloud.example", 5).MessageID
			if (a == b) != once[s] {
				t.Errorf("%s in another round: %s, then %s", s, a, b)
			}
		}
	}
}

var now = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC).UnixMicro()

const day = int64(24 * time.Hour / time.Microsecond)

// letter is an ordinary one; hostile text may stand wherever a tenant, a peer or a cloud can put it.
func letter(t interface{ Fatal(...any) }, s casework.Step, text string) notice.Letter {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	or := func(benign string) string {
		if text != "" {
			return text
		}
		return benign
	}
	f := finding.Finding{ID: "f", State: finding.Open, Grade: finding.Proved, Severity: "critical", Class: "E", Title: or("Redis answers without a password"), FirstSeen: now - day, Cause: or("a rule lets everybody in"),
		Endpoint: probe.Endpoint{Addr: netip.MustParseAddr("203.0.113.9"), Proto: probe.TCP, Port: 6379}, Key: finding.Key{Zone: probe.Internet},
		Evidence: map[string]untrusted.Text{or("redis_version"): untrusted.From(or("7.2.4"))},
		Duty:     duty.Resolution{Party: duty.Customer, Reason: or("the guest's services are the customer's"), Assignment: or("iaas-application")}}
	l := notice.Letter{Step: s, Server: untrusted.From(or("web-1")), Project: untrusted.From(or("physics")), End: policy.Quarantine, Zone: zone, PolicyURL: "https://cloud.example/probing", Contacts: contacts,
		Items: []notice.Item{{Finding: f, Advice: "Set requirepass,\nor bind to a private address.", Remedy: []string{or("openstack security group rule delete 6f1c")},
			Guides: []string{or("https://cloud.example/guidance/check/redis-unauth.html"), or("https://cloud.example/guidance/duty/S0-26.html")}}},
		Case: casework.Case{ID: "01998a5e-0000-7000-8000-000000abcdef", Cloud: "north", Server: asset.ServerID(or("2c9e")), Project: asset.ProjectID(or("77aa")), Party: duty.Customer, Track: casework.Vulnerability, Class: "E",
			Blocks: []casework.Refusal{{Condition: "budget", Reason: or("6 acts in an hour for the cloud, at most 5")},
				{Condition: "approval", Reason: "no operator has approved"}},
			Hold: or("the address changed hands"), ProbationEnds: now + 14*day}}
	switch s {
	case casework.StepNotice, casework.StepFinal, casework.StepRelapse:
		l.Deadline, l.NoticedAt = now+4*day, now-4*day
	case casework.StepApproval, casework.StepRefused:
		l.Case.State = casework.Queued
		l.Case.Notices = []casework.Notice{{
			Step:       casework.StepFinal,
			AcceptedAt: now,
			Announced:  casework.Announced{End: policy.Quarantine, Class: "E"},
		}}
	case casework.StepRestricted, casework.StepReleased, casework.StepClosed, casework.StepEscalation,
		casework.StepHeld, casework.StepWithdrawn, casework.StepObserved:
	case casework.StepStillOpen:
		l.Case.State, l.Case.Stopped, l.End = casework.Restricted, true, policy.Stop
	case casework.StepReturned:
		l.Case.Renewed = 2
	case casework.StepNoVerdict:
		l.Items[0].Finding.NoVerdictFrom, l.Items[0].Finding.NoVerdict = now-day, "its port or its address was altered during the check"
	case casework.StepPassed:
		l.Case.Passed, l.Case.PassedAt, l.Case.Handed = or("Redis answers without a password at 203.0.113.9:6379/tcp passes from the customer to the provider: contract ESC-2026-17"), now, false
		l.Case.State = casework.Closed
	case casework.StepStatus:
		l.Deadline, l.Case.State = now+4*day, casework.Notified
		l.Case.Party, l.Items[0].Finding.Duty.Party = duty.Provider, duty.Provider
	}
	return l
}

// setting makes a letter one about what the configuration alone shows: the provider's is about the cloud as a whole.
func setting(l notice.Letter, party duty.Party) notice.Letter {
	l.Case.Track, l.Case.Class, l.Case.Party, l.Case.Server, l.Server, l.End = casework.Configuration, "M", party, "", untrusted.Text{}, policy.Report
	f := &l.Items[0].Finding
	f.Title, f.Grade, f.Class, f.Severity, f.Endpoint, f.Key.Locus, f.Cause = "The group that machines get by default lets others in", finding.Observed, "M", "medium",
		probe.Endpoint{}, "rule IPv4 tcp 22-22 from *", "every new server of the project has it"
	f.Key.Zone, f.Duty.Party, l.Items[0].Remedy, l.Items[0].Advice = "", party, nil, ""
	if party == duty.Provider {
		l.Case.Project, l.Project = "", untrusted.Text{}
		l.Case.Cloud, l.Contacts.Institution = "north", "Example University"
	}
	return l
}

// A mail about a setting says neither that anything was probed nor has an empty place where a server, a project or an address would stand.
func TestMailsAboutSettingsSayWhatIsSo(t *testing.T) {
	for _, s := range allSteps {
		if reportsEarlier[s] || s == casework.StepApproval || s == casework.StepNoVerdict || s == casework.StepReturned || s == casework.StepHeld || s == casework.StepPassed {
			continue // not of a setting, or of any case alike
		}
		for _, party := range []duty.Party{duty.Customer, duty.Provider, duty.Shared} {
			subject, body := notice.Write(setting(letter(t, s, ""), party))
			for _, wrong := range []string{"probing found", "invalid", "Machine:", ": \n", "weakness", "seen from", "AddrPort"} {
				if strings.Contains(subject+"\n"+body, wrong) || strings.HasSuffix(subject, ": ") {
					t.Errorf("%s for the %s has %q:\n%s\n%s", s, party, wrong, subject, body)
				}
			}
		}
	}
}

// A weakness that is seen from two zones is told once, with both; another place or another state is told on its own.
func TestOneWeaknessIsToldOnce(t *testing.T) {
	l := letter(t, casework.StepNotice, "")
	again, elsewhere := l.Items[0], l.Items[0]
	again.Finding.Key.Zone, again.Remedy = probe.Institution, append(slices.Clone(again.Remedy), "openstack security group rule delete 7f1c")
	elsewhere.Finding.Key.Locus = "tcp/6380"
	l.Items = notice.Merge([]notice.Item{l.Items[0], elsewhere, again})
	_, body := notice.Write(l)
	if len(l.Items) != 2 || !strings.Contains(body, "seen from the internet and the institution") || strings.Count(body, "rule delete 6f1c") != 2 || strings.Count(body, "rule delete 7f1c") != 1 {
		t.Errorf("%d items:\n%s", len(l.Items), body)
	}
}

// Every mail says whose cloud it is about.
func TestEveryMailIsSigned(t *testing.T) {
	for _, s := range allSteps {
		l := letter(t, s, "")
		l.Case.Cloud = "north"
		if _, body := notice.Write(l); !strings.HasSuffix(body, "\nThe operators of the cloud north\n") {
			t.Errorf("%s ends in %q", s, body[max(0, len(body)-60):])
		}
		l.Contacts.Institution = "Example University"
		if _, body := notice.Write(l); !strings.HasSuffix(body, "\nCloud security, Example University\n") {
			t.Errorf("%s ends in %q", s, body[max(0, len(body)-60):])
		}
	}
}

// The letters, word for word; -update rewrites them.
func TestLetters(t *testing.T) {
	letters := map[string]notice.Letter{}
	for _, s := range allSteps {
		letters[string(s)] = letter(t, s, "")
	}
	for name, alter := range map[string]func(c *casework.Case){"passed_quarantined": func(c *casework.Case) { c.State, c.Act, c.Handed = casework.Verifying, "act", true }, "passed_rest": func(c *casework.Case) { c.State = casework.Notified },
		"status_overdue": func(c *casework.Case) { c.State = casework.Overdue }, "status_closed": func(c *casework.Case) { c.State = casework.Closed },
		"status_queued": func(c *casework.Case) { c.ClockFrom = 0 }} {
		l := letter(t, casework.Step(strings.Split(name, "_")[0]), "")
		alter(&l.Case)
		if l.Case.State == casework.Closed {
			l.Deadline, l.Items = 0, nil
		}
		letters[name] = l
	}
	for name, party := range map[string]duty.Party{"provider": duty.Provider, "shared": duty.Shared} {
		for _, s := range []casework.Step{casework.StepNotice, casework.StepRelapse, casework.StepEscalation} {
			l := letter(t, s, "")
			l.Case.Party, l.Items[0].Finding.Duty.Party = party, party
			if party == duty.Provider {
				l.Items[0].Remedy = nil // the tenant's groups are not the provider's to change
			}
			if s == casework.StepRelapse {
				l.Deadline = 0
			}
			letters[string(s)+"_"+name] = l
		}
	}
	blocked, hostile := letter(t, casework.StepNotice, ""), letter(t, casework.StepNotice, "")
	blocked.Case.Track = casework.ScanBlocked
	for _, s := range []casework.Step{casework.StepFinal, casework.StepEscalation, casework.StepRelapse, casework.StepClosed} {
		l := letter(t, s, "")
		l.Case.Track, l.Case.Class, l.End, l.Items[0].Remedy = casework.ScanBlocked, "U", policy.Operator, nil
		letters[string(s)+"_blocked"] = l
	}
	for name, party := range map[string]duty.Party{"customer": duty.Customer, "provider": duty.Provider} {
		for _, s := range []casework.Step{casework.StepNotice, casework.StepEscalation, casework.StepClosed} {
			l := setting(letter(t, s, ""), party)
			letters[string(s)+"_configuration_"+name] = l
		}
	}
	harsher, other := letter(t, casework.StepApproval, ""), letter(t, casework.StepFinal, "")
	stopped, undone := letter(t, casework.StepRestricted, ""), letter(t, casework.StepWithdrawn, "")
	harsher.End = policy.Stop
	other.NoticedAt, other.Case.Notices = 0, []casework.Notice{{
		Step:       casework.StepNotice,
		AcceptedAt: now - 4*day,
		Recipient:  "somebody.else@physics.example",
	}}
	stopped.Case.Stopped, stopped.End = true, policy.Stop
	undone.Case.ReleasedAt, undone.Case.Lost = now, []string{"port 77 was deleted meanwhile; it had the groups g1, g2"}
	stuck := letter(t, casework.StepRefused, "")
	stuck.Case.Renewed, stuck.Case.Blocks = 1, []casework.Refusal{{
		Condition: "people",
		Reason:    "nobody who can act for the project now received a notice with the full time to fix",
		Detail: "notified: a@physics.example (notice, 2026-11-02 09:00 UTC); a@physics.example left 2026-11-05 09:00 UTC; " +
			"can act now: b@physics.example",
		Renew: casework.RenewOwner,
	}}
	letters["approval_harsher"], letters["final_warning_others"] = harsher, other
	letters["restricted_stopped"], letters["withdrawn_undone"], letters["refused_stuck"] = stopped, undone, stuck
	reported, decided := letter(t, casework.StepNotice, ""), letter(t, casework.StepFinal, "")
	reported.End, decided.End = policy.Report, policy.Operator
	again := letter(t, casework.StepTampered, "")
	again.Case.RestrictedAt, again.Case.Tampers, again.Case.PutBack = now-day, 8, 7
	letters["tampered_again"] = again
	letters["notice_report"], letters["final_warning_operator"] = reported, decided
	hostile.Server = untrusted.From("web\r\nBcc: all@example.org\x1b[2J\u202e世界世界世界世界世界世界世界")
	letters["notice_blocked"], letters["notice_hostile"] = blocked, hostile
	for name, l := range letters {
		subject, body := notice.Write(l)
		got, file := "Subject: "+subject+"\n\n"+body, filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not as it was:\n%s", file, got)
		}
	}
}

// Where no pages are published, a letter names none.
func TestWithoutPublishedGuidanceThereIsNoLink(t *testing.T) {
	with := letter(t, casework.StepNotice, "")
	without := letter(t, casework.StepNotice, "")
	without.Items[0].Guides = nil
	_, more := notice.Write(with)
	_, less := notice.Write(without)
	for _, link := range with.Items[0].Guides {
		if !strings.Contains(more, link+"\n") || strings.Contains(less, link) {
			t.Errorf("%s: in the letter with guidance %t, without %t", link, strings.Contains(more, link), strings.Contains(less, link))
		}
	}
	if strings.Contains(less, "how to:") || strings.Count(more, "\n")-strings.Count(less, "\n") != 3 {
		t.Errorf("a letter without guidance:\n%s", less)
	}
}

// A machine that keeps us out is never said to be weak, nor a weakness to be back.
func TestWhatWeCannotSeeIsNotClaimed(t *testing.T) {
	for _, s := range []casework.Step{casework.StepNotice, casework.StepFinal, casework.StepEscalation, casework.StepRelapse, casework.StepClosed} {
		l := letter(t, s, "")
		l.Case.Track, l.End, l.Items = casework.ScanBlocked, policy.Operator, nil
		subject, body := notice.Write(l)
		for _, no := range []string{"still there", "the weakness is back", "there again", "has not come back"} {
			if strings.Contains(subject+body, no) {
				t.Errorf("%s says %q:\n%s", s, no, body)
			}
		}
	}
}

// No text of a stranger adds a line, a header or anything that does not show.
func TestHostileTextStaysInert(t *testing.T) {
	lines := map[casework.Step]int{}
	for _, s := range allSteps {
		_, body := notice.Write(letter(t, s, ""))
		lines[s] = strings.Count(body, "\n")
	}
	bad := []string{"\r\nBcc: all@example.org", "\n\n--boundary\n", "\x1b[2J", "\u202e", "\x00", "\u2028", "\r.\r\n", "\x9b", "a\u0301", "<b>", "=?utf-8?q?x?=", "\xff", "\u0085", "世"}
	rapid.Check(t, func(t *rapid.T) {
		text := "x" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(bad), 1, 9).Draw(t, "bad"), rapid.StringN(0, 30, 90).Draw(t, "between"))
		s := rapid.SampledFrom(allSteps).Draw(t, "step")
		subject, body := notice.Write(letter(t, s, text))
		if n := strings.Count(body, "\n"); n != lines[s] {
			t.Fatalf("%s: %d lines, want %d:\n%s", s, n, lines[s], body)
		}
		for where, x := range map[string]string{"subject": subject, "body": strings.ReplaceAll(body, "\n", "")} {
			for _, r := range x {
				if !unicode.IsPrint(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Bidi_Control) {
					t.Fatalf("%s: the %s holds %U: %q", s, where, r, x)
				}
			}
		}
		if len(subject) > 400 || strings.Contains("\n"+body, "\nBcc:") {
			t.Fatalf("%s: %q\n%s", s, subject, body)
		}
	})
}
