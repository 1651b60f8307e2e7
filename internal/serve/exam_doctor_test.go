package serve_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"demarc/internal/audit"
	"demarc/internal/casework"
	"demarc/internal/lab"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/store/storetest"
)

// ward is a world with the files of a Demarc that is not running.
func ward(t *testing.T, p plot) *exam {
	t.Helper()
	if p.scenario.Name == "" {
		p.scenario = town()
	}
	if p.password == "" {
		p.password = lab.DemoPassword
	}
	w, err := lab.New(p.scenario)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	e := &exam{t: t, plot: p, w: w, dir: t.TempDir()}
	e.place = storetest.Fresh(t, filepath.Join(e.dir, "demarc.db"))
	e.way = strings.TrimPrefix(e.place, e.dir+"/")
	e.write()
	e.writeSecrets()
	return e
}

// doctor looks, and gives what it found that is not well by its code.
func (e *exam) doctor(change ...func(*serve.Doctor)) (all []serve.Diagnosis, bad map[serve.Code]serve.Diagnosis) {
	e.t.Helper()
	c, p, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	d := serve.Doctor{Config: c, Policy: p, Now: time.Now}
	for _, f := range change {
		f(&d)
	}
	all, bad = d.Examine(e.t.Context()), map[serve.Code]serve.Diagnosis{}
	for _, r := range all {
		if !slices.Contains(serve.Codes, r.Code) || r.What == "" || r.Subject == "" {
			e.t.Errorf("%+v", r)
		}
		if r.State == serve.Broken || r.State == serve.Doubted {
			bad[r.Code] = r
			if r.Remedy == "" && r.State == serve.Broken {
				e.t.Errorf("no remedy: %+v", r)
			}
		}
	}
	return all, bad
}

// readerAndHand is the configuration with an account of its own for acts, and a reader that can only read.
func readerAndHand() plot {
	s := town()
	s.AppCreds = append(s.AppCreds, lab.AppCred{ID: "reads", Name: "reads", Secret: "canary-reads", User: lab.DemoUser, Project: lab.DemoProject, ReadOnly: true},
		lab.AppCred{ID: "acts", Name: "acts", Secret: "canary-acts", User: lab.DemoUser, Project: lab.DemoProject})
	return plot{scenario: s, secrets: map[string]string{"reads.secret": "canary-reads\n", "acts.secret": "canary-acts\n"}, config: []string{
		"  username: demarc\n  password_file: cloud.secret\n  project: security\n", "  application_credential_id: reads\n  application_credential_secret_file: reads.secret\n",
		"netblocks:", "enforcement: {application_credential_id: acts, application_credential_secret_file: acts.secret}\nnetblocks:"}}
}

// While the server's readings are partial the doctor tells what waits for a whole one, and no longer.
func TestTheDoctorTellsWhatAPartialReadingHoldsUp(t *testing.T) {
	t.Parallel()
	e := open(t, plot{})
	always(lab.Fault{Kind: lab.Answer, Status: 500, RetryAfter: "0", Path: floating})(e)
	e.after(3 * day)
	said := func() string {
		_, bad := e.doctor()
		return bad[serve.InventoryPartial].What
	}
	if what := said(); !strings.Contains(what, "findings of the configuration wait for a whole reading") || !strings.Contains(what, "floating_ips: ") {
		t.Errorf("the doctor says %q", what)
	}
	e.w.ClearFaults()
	e.after(3 * day)
	if what := said(); what != "" {
		t.Errorf("after a whole reading: %q", what)
	}
}

// A configuration that is well is told to be, and nothing is changed by looking.
func TestTheDoctorFindsNothingWhereAllIsWell(t *testing.T) {
	t.Parallel()
	e := ward(t, readerAndHand())
	before, err := os.ReadDir(e.dir)
	e.must(err)
	all, bad := e.doctor()
	delete(bad, serve.ClockUnsync) // of the machine that runs the test
	if len(bad) > 0 || !serve.Well(all) {
		t.Errorf("%+v", bad)
	}
	have := map[serve.Code]int{}
	for _, r := range all {
		have[r.Code]++
	}
	for _, want := range []serve.Code{serve.CloudAccount, serve.CloudCoverage, serve.EnforceAccount, serve.EnforceGroup,
		serve.ClockRight, serve.VantageRoad, serve.MailTaken, serve.DatabaseNew, serve.SwitchOff,
		serve.SocketFree} {
		if have[want] == 0 {
			t.Errorf("%s was not looked at: %+v", want, all)
		}
	}
	after, err := os.ReadDir(e.dir)
	e.must(err)
	if len(after) != len(before) || len(e.w.Actions()) > 0 || len(e.w.Mail.Messages()) > 0 {
		t.Errorf("looking left %d files of %d, %d acts, %d mails", len(after), len(before), len(e.w.Actions()), len(e.w.Mail.Messages()))
	}
	d, err := store.Open(t.Context(), e.place)
	e.must(err)
	e.must(d.Commit(t.Context(), casework.Change{At: 1}))
	e.must(d.Close())
	sums, err := storetest.Sums(t.Context(), e.place)
	e.must(err)
	if all, _ := e.doctor(); !slices.ContainsFunc(all, func(r serve.Diagnosis) bool { return r.Code == serve.DatabaseWritable }) {
		t.Errorf("%+v", all)
	}
	if now, err := storetest.Sums(t.Context(), e.place); err != nil || fmt.Sprint(now) != fmt.Sprint(sums) {
		t.Errorf("looking changed the database: %v, %v", now, err)
	}
}

// ailment is one thing that is wrong, and what must be told of it.
type ailment struct {
	plot plot
	hurt func(*exam)
	code serve.Code
	fine bool // a warning: nothing is broken
}

func ailments() map[string]ailment {
	as := func(user, project string) plot {
		return plot{config: []string{"username: demarc", "username: " + user, "project: security", "project: " + project}, password: "lab-only"}
	}
	ending := readerAndHand()
	ending.scenario.AppCreds[len(ending.scenario.AppCreds)-1].Expires = time.Now().Add(72 * time.Hour)
	expired := readerAndHand()
	expired.scenario.AppCreds[len(expired.scenario.AppCreds)-2].Expires = time.Now().Add(-time.Hour)
	loose := readerAndHand()
	loose.scenario.AppCreds[len(loose.scenario.AppCreds)-2].ReadOnly = false
	weak := readerAndHand()
	weak.scenario.AppCreds[len(weak.scenario.AppCreds)-1].User, weak.scenario.AppCreds[len(weak.scenario.AppCreds)-1].Project = "amir", "astro"
	stale := readerAndHand()
	stale.secrets["acts.secret"] = "canary-not-it\n"
	many := town()
	for i := range many.Users {
		if many.Users[i].Name == "auditor" {
			many.Users[i].Roles = map[string]string{lab.DemoProject: "reader", "astro": "reader", "genomics": "reader"}
		}
	}
	perProject := as("auditor", "security")
	perProject.scenario = many
	const ports, keystone = "/networking/v2.0/ports", "/identity"
	return map[string]ailment{
		"no class without an act": {plot: plot{policy: []string{"grace: 0s, end: report", "grace: 0s, end: operator"}}, code: serve.PolicyNoNotice, fine: true},
		"wrong password":          {plot: plot{password: "canary-wrong"}, code: serve.CloudRefused},
		"an expired credential":   {plot: expired, code: serve.CloudRefused},
		"no cloud there":          {plot: plot{config: []string{"auth_url: ", "auth_url: http://127.0.0.1:1/v3 # "}}, code: serve.CloudUnreachable},
		"a cloud that never says": {hurt: func(e *exam) { e.w.Plan(lab.Fault{Kind: lab.Slow, Path: keystone, Delay: time.Minute, Times: -1}) }, code: serve.CloudUnreachable},
		"reader only":             {plot: as("amir", "astro"), code: serve.CloudReaderOnly},
		"roles in many projects":  {plot: perProject, code: serve.CloudPerProject},
		"Neutron's empty 200":     {plot: as("auditor", "security"), code: serve.CloudSilent},
		"an administrator's too":  {hurt: func(e *exam) { e.w.Plan(lab.Fault{Kind: lab.Empty, Path: ports, Times: -1}) }, code: serve.CloudSilent},
		"no floating IPs listed":  {hurt: func(e *exam) { e.w.Plan(lab.Fault{Kind: lab.Empty, Path: "/networking/v2.0/floatingips", Times: -1}) }, code: serve.CloudPartial},
		"no groups listed": {hurt: func(e *exam) {
			e.w.Plan(lab.Fault{Kind: lab.Empty, Path: "/networking/v2.0/security-groups", Times: -1})
		}, code: serve.CloudPartial},
		"one account":              {code: serve.EnforceOne, fine: true},
		"a reader that may change": {plot: loose, code: serve.CloudCanChange, fine: true},
		"a credential that ends":   {plot: ending, code: serve.Expiring, fine: true},
		"a hand without rights":    {plot: weak, code: serve.EnforceWeak},
		"a hand that is refused":   {plot: stale, code: serve.EnforceRefused},
		"a shared quarantine":      {hurt: shareQuarantine, code: serve.EnforceShared},
		"clock ten minutes ahead":  {hurt: func(e *exam) { e.w.SetClock(-10 * time.Minute) }, code: serve.ClockOff},
		"clock ten minutes behind": {hurt: func(e *exam) { e.w.SetClock(10 * time.Minute) }, code: serve.ClockOff},
		"mail refused":             {hurt: func(e *exam) { e.w.Mail.Fault(lab.MailFaults{RcptPermanent: map[string]bool{operators: true}}) }, code: serve.MailRefused},
		"our address refused":      {hurt: func(e *exam) { e.w.Mail.Fault(lab.MailFaults{FromPermanent: true}) }, code: serve.MailRefused},
		"greylisted":               {hurt: func(e *exam) { e.w.Mail.Fault(lab.MailFaults{RcptTemporary: 1}) }, code: serve.MailLater, fine: true},
		"no relay":                 {hurt: func(e *exam) { e.w.Mail.Down() }, code: serve.MailUnreachable},
		"a relay without TLS":      {plot: plot{config: []string{"tls: none", "tls: required"}}, code: serve.MailTLS},
		"a relay without a login":  {plot: plot{config: []string{"  tls: none", "  tls: none\n  user: demarc\n  password_file: mail.secret"}, secrets: map[string]string{"mail.secret": "canary-mail"}}, code: serve.MailLogin},
		"no source address":        {plot: plot{config: []string{"sources: [", "sources: [203.0.113.9, "}}, code: serve.VantageNoSource},
		"no namespace":             {plot: plot{config: []string{"bind: true", "bind: true, namespace: demarc-is-not-there"}}, code: serve.VantageNamespace},
		"no route":                 {plot: plot{config: []string{"netblocks:", "netblocks:\n  - {cidr: 203.0.113.0/24, holder: elsewhere, zones: [internet]}"}}, code: serve.VantageNoRoute},
		"nothing to probe":         {plot: plot{config: []string{"zones: [internet]", "zones: [institution]"}}, code: serve.VantageNothing, fine: true},
		"a socket in the way":      {hurt: func(e *exam) { e.must(os.WriteFile(filepath.Join(e.dir, "demarc.sock"), nil, 0o600)) }, code: serve.SocketTaken},
		"another's database":       {hurt: anothersDatabase, code: serve.DatabaseNotOurs},
		"a database in use":        {hurt: inUse, code: serve.DatabaseInUse, fine: true},
		"heads of another log":     {hurt: otherHeads, code: serve.AuditTampered},
		"heads that are lost":      {hurt: lostHeads, code: serve.AuditLost},
		"a switch others can write": {hurt: func(e *exam) {
			file := e.switchFile()
			e.must(file.Create(false))
			e.must(os.Chmod(string(file), 0o666))
		}, code: serve.SwitchUnusable},
		"a pause": {hurt: func(e *exam) { e.must(e.switchFile().Create(true)) }, code: serve.SwitchOn, fine: true},
	}
}

func shareQuarantine(e *exam) {
	e.must(os.WriteFile(filepath.Join(e.dir, "x"), nil, 0o600))
	e.must(e.w.ShareGroup(lab.DemoProject, "default", true))
	c, err := os.ReadFile(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	e.must(os.WriteFile(filepath.Join(e.dir, "demarc.yaml"), []byte(strings.Replace(string(c), "name: demarc-quarantine", "name: default", 1)), 0o600))
}

func anothersDatabase(e *exam) {
	d, err := storetest.Beside(e.place)
	e.must(err)
	_, err = d.ExecContext(e.t.Context(), `CREATE TABLE recipes (name TEXT)`)
	e.must(err)
	e.must(d.Close())
}

func inUse(e *exam) {
	d, err := store.Open(e.t.Context(), e.place)
	e.must(err)
	l, err := d.Lease(e.t.Context())
	e.must(err)
	e.t.Cleanup(func() {
		_ = l.Release()
		_ = d.Close()
	})
}

func (e *exam) switchFile() store.SwitchFile {
	e.t.Helper()
	c, _, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	return c.SwitchPath()
}

func lostHeads(e *exam) {
	d, err := store.Open(e.t.Context(), e.place)
	e.must(err)
	e.must(d.Commit(e.t.Context(), casework.Change{At: 1, Audit: []audit.Entry{{Actor: "demarc", Kind: "case.opened"}}}))
	e.must(d.Close())
}

func otherHeads(e *exam) {
	d, err := store.Open(e.t.Context(), e.place)
	e.must(err)
	e.must(d.Close())
	c, _, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	e.must(err)
	b, err := json.Marshal(audit.Head{Size: 7})
	e.must(err)
	e.must(os.WriteFile(c.HeadsPath(), append(b, '\n'), 0o600))
}

// Each thing that can be wrong has its own code, is told with a remedy and without a secret, and hides nothing else.
func TestTheDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, a := range ailments() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := ward(t, a.plot)
			if a.hurt != nil {
				a.hurt(e)
			}
			mailed := a.code == serve.MailRefused || a.code == serve.MailLater || a.code == serve.MailUnreachable || a.code == serve.MailTLS || a.code == serve.MailLogin
			if !mailed {
				e.w.Mail.Fault(lab.MailFaults{RcptPermanent: map[string]bool{operators: true}}) // a second fault, elsewhere
			}
			all, bad := e.doctor(func(d *serve.Doctor) { d.Bound, d.Whole = 4*time.Second, 10*time.Second })
			if r, told := bad[a.code]; !told || !a.fine && r.State != serve.Broken {
				t.Errorf("%s is not told as broken: %+v", a.code, bad)
			}
			if _, told := bad[serve.MailRefused]; !told && !mailed {
				t.Errorf("the second fault is hidden: %+v", bad)
			}
			if a.fine {
				delete(bad, serve.MailRefused)
				for _, r := range bad {
					if r.State == serve.Broken {
						t.Errorf("a warning breaks something: %+v", r)
					}
				}
			} else if serve.Well(all) {
				t.Error("all is told to be well")
			}
			text, err := json.Marshal(all)
			e.must(err)
			if strings.Contains(string(text), "canary") || strings.Contains(string(text), lab.DemoPassword) && a.plot.password == "" {
				t.Errorf("a secret is told: %s", text)
			}
		})
	}
}

// A clock that is off by less than tokens and deadlines can bear is no fault.
func TestASmallDifferenceOfClocksIsNoFault(t *testing.T) {
	t.Parallel()
	e := ward(t, plot{})
	e.w.SetClock(2 * time.Minute)
	if _, bad := e.doctor(); bad[serve.ClockOff].Code != "" {
		t.Errorf("%+v", bad)
	}
}

// A database that can only be read is told, whoever runs it. Root is bound by no file's mode, so as root this is examined in a
// process of nobody's.
func TestADatabaseThatCanOnlyBeRead(t *testing.T) {
	if storetest.Admin() == "" && os.Getuid() == 0 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TMPDIR=") }), "TMPDIR=/tmp", "HOME=/tmp")
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	for name, hurt := range map[string]func(*exam){
		"the file": func(e *exam) { e.must(os.Chmod(e.place, 0o400)) },
		"its folder": func(e *exam) {
			e.must(os.Chmod(e.dir, 0o500))                     //nolint:gosec // a folder is entered
			e.t.Cleanup(func() { _ = os.Chmod(e.dir, 0o700) }) //nolint:gosec // the same
		},
	} {
		if storetest.Admin() != "" {
			name, hurt = "the server", func(e *exam) {
				d, err := storetest.Beside(e.place)
				e.must(err)
				_, err = d.ExecContext(t.Context(), `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' SET default_transaction_read_only = on'; END $$`)
				e.must(err)
				e.must(d.Close())
			}
		}
		t.Run(name, func(t *testing.T) {
			e := ward(t, plot{})
			d, err := store.Open(t.Context(), e.place)
			e.must(err)
			e.must(d.Close())
			hurt(e)
			if all, bad := e.doctor(); bad[serve.DatabaseReadOnly].State != serve.Broken || serve.Well(all) {
				t.Errorf("%+v", all)
			}
		})
	}
}

// Doctor tells which machines no action can reach, and which findings are stored graver than the loaded checks say.
func TestTheDoctorTellsOfMachinesOutOfReachAndOfFindingsThatDiffer(t *testing.T) {
	t.Parallel()
	s := town()
	s.Servers[0].NICs[0].VNICType = "direct"
	e := open(t, plot{scenario: s})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	_, bad := e.doctor()
	if said := bad[serve.MachinesOutOfReach].What; !strings.Contains(said, "no action can reach 1 of 3 machines (cache-1: ") {
		t.Errorf("out of reach: %q", said)
	}
	if d, told := bad[serve.FindingsDiffer]; told {
		t.Errorf("nothing differs, and doctor says %+v", d)
	}
	e.edit("finding", "", func(v map[string]any) { v["class"] = "X" })
	_, bad = e.doctor()
	if said := bad[serve.FindingsDiffer].What; !strings.Contains(said, "1 findings are stored graver") ||
		!strings.Contains(said, "class X, proved; revision 2 of the check says E, proved") {
		t.Errorf("what differs: %q", said)
	}
}
