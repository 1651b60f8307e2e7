package detect

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"demarc/internal/fault"
	"demarc/internal/probe"
)

func bundle(t *testing.T) ([]Check, []Recording) {
	t.Helper()
	checks, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	recordings, err := LoadRecordings(Embedded())
	if err != nil {
		t.Fatal(err)
	}
	return checks, recordings
}

func recordingNamed(t *testing.T, name string) *Recording {
	t.Helper()
	_, recordings := bundle(t)
	for i := range recordings {
		if recordings[i].Name == name {
			return &recordings[i]
		}
	}
	t.Fatalf("there is no recording %s", name)
	return nil
}

func TestEveryCheckHoldsAgainstItsRecordings(t *testing.T) {
	t.Parallel()
	checks, recordings := bundle(t)
	trials, err := Test(checks, recordings)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d checks, %d recordings, %d trials", len(checks), len(recordings), len(trials))
}

// A broken check must be noticed: every matcher of every check is turned into one that never holds, and
// every check must then fail its recordings.
func TestABrokenCheckFails(t *testing.T) {
	t.Parallel()
	checks, recordings := bundle(t)
	broken := probe.Match{Regex: `a\A`}
	for i, c := range checks {
		spoilt := append([]Check(nil), checks...)
		s := &spoilt[i]
		s.Exchange = append([]Step(nil), c.Exchange...)
		s.Verdict = append([]Branch(nil), c.Verdict...)
		if len(s.Exchange) > 0 {
			s.Exchange[0].Expect = &broken
		} else {
			s.Verdict[0].Match = broken
		}
		if _, err := Test(spoilt, recordings); err == nil || !strings.Contains(err.Error(), c.ID) {
			t.Errorf("%s: broken, and no recording shows it: %v", c.ID, err)
		}
	}
}

func TestAMissingRecordingFails(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	_, err := Test(checks, nil)
	for _, c := range checks {
		if err == nil || !strings.Contains(err.Error(), c.ID+" has no passing recording of a vulnerable server") {
			t.Errorf("%s: no recordings, and the test passes: %v", c.ID, err)
		}
	}
}

func TestOnlyListedEvidenceIsKept(t *testing.T) {
	t.Parallel()
	checks, recordings := bundle(t)
	for i := range recordings {
		for _, v := range Judge(recordings[i].Observe(checks).Facts, checks, 0) {
			c := checks[indexOf(checks, v.Check)]
			for name, value := range v.Evidence {
				if !strings.Contains(" "+strings.Join(c.Evidence, " ")+" ", " "+name+" ") || value.Len() > evidenceMax {
					t.Errorf("%s on %s keeps %s (%d bytes)", v.Check, recordings[i].Name, name, value.Len())
				}
			}
		}
	}
	r := recordingNamed(t, "redis-open")
	for _, v := range Judge(r.Observe(checks).Facts, checks, 0) {
		if v.Check == "redis-unauth" && v.Evidence["version"].Raw() != "7.0.15" {
			t.Errorf("redis-unauth: evidence %v", v.Evidence)
		}
	}
}

func indexOf(checks []Check, id string) int {
	for i := range checks {
		if checks[i].ID == id {
			return i
		}
	}
	return -1
}

func TestADeceptiveHostIsOnlySuspected(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	f := recordingNamed(t, "redis-open").Observe(checks).Facts
	for _, flag := range []string{probe.FlagTarpit, probe.FlagEcho, probe.FlagContradiction} {
		f.Service.Flags = []string{flag}
		for _, v := range Judge(f, checks, 0) {
			if v.Grade != Suspected {
				t.Errorf("%s with the flag %s is graded %s", v.Check, flag, v.Grade)
			}
		}
	}
}

func TestATarpitGivesOneFinding(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	var obs []probe.Observation
	for port := uint16(1); port < 2000; port++ {
		o := tarpitPort()
		o.Endpoint.Port = port
		obs = append(obs, o)
	}
	got := HostVerdicts(obs, checks, 0)
	if len(got) != 1 || got[0].Check != TarpitCheck || got[0].Answer != Vulnerable || got[0].Endpoint.Port != 0 || got[0].Class != "L" {
		t.Fatalf("a tarpit with 1999 ports gives %d verdicts: %+v", len(got), got[:min(len(got), 3)])
	}
}

func tarpitPort() probe.Observation {
	return probe.Observation{Endpoint: probe.Endpoint{Proto: probe.TCP}, Facts: probe.Facts{Outcome: probe.Open, Service: &probe.Service{Name: probe.Unknown, Flags: []string{probe.FlagTarpit}}}}
}

func TestSilenceIsNoFix(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	want := map[probe.Outcome]Answer{probe.Closed: Closed, probe.Filtered: Filtered, probe.Silent: Filtered, probe.Failed: Inconclusive}
	for outcome, answer := range want {
		for _, v := range Judge(probe.Facts{Outcome: outcome}, checks, 0) {
			if v.Answer != answer {
				t.Errorf("%s on %s: %s, want %s", v.Check, outcome, v.Answer, answer)
			}
		}
	}
	for _, name := range []string{"mute", "echo", "tarpit"} {
		r := recordingNamed(t, name)
		for _, v := range Judge(r.Observe(checks).Facts, checks, micro(r.At)) {
			if v.Answer != Inconclusive {
				t.Errorf("%s on %s: %s", v.Check, name, v.Answer)
			}
		}
	}
}

// Scripts travel to remote vantage points as JSON, and arrive as they left.
func TestScriptsTravel(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	scripts := Scripts(checks)
	b, err := json.Marshal(scripts)
	if err != nil {
		t.Fatal(err)
	}
	var back []probe.Script
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(scripts, back) {
		t.Errorf("%+v\narrived as\n%+v", scripts, back)
	}
}

// The same facts under another revision of a check were not asked its questions.
func TestAnotherRevisionIsAskedAnew(t *testing.T) {
	t.Parallel()
	checks, _ := bundle(t)
	f := recordingNamed(t, "redis-open").Observe(checks).Facts
	checks[indexOf(checks, "redis-unauth")].Revision++
	for _, v := range Judge(f, checks, 0) {
		if v.Check == "redis-unauth" && v.Answer != Inconclusive {
			t.Errorf("judged %s by answers to other questions", v.Answer)
		}
	}
}

// Every mistake in a check names its place and what would be accepted.
func TestMistakesInAChecksFile(t *testing.T) {
	t.Parallel()
	good, err := embedded.ReadFile("checks/redis-unauth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, replacement, want string }{
		{"unknown matcher", `expect: {prefix: "+PONG"}`, `expect: {begins: "+PONG"}`, "redis-unauth.yaml:13:14: unknown field \"begins\""},
		{"unknown verb", `- send: "*1`, `- shout: "*1`, "redis-unauth.yaml:12:5: unknown field \"shout\""},
		{"severity", "severity: critical", "severity: awful", `redis-unauth.yaml:4:11: severity can not be "awful" (accepted: critical, high, medium, low, info)`},
		{"service", "service: redis", "service: rebis", `redis-unauth.yaml:10:20: applies.service can not be "rebis" (accepted: http, postgresql, redis, ssh, telnet, unknown)`},
		{"regex", "'redis_version:([0-9A-Za-z.\\-]+)'", "'redis_version:([0-9'", "redis-unauth.yaml:22:24: a regular expression does not compile"},
		{"group", "'redis_version:([0-9A-Za-z.\\-]+)'", "'redis_version'", "redis-unauth.yaml:22:24: a capture has exactly one group"},
		{"answer", "answer: not_vulnerable", "answer: fixed", "accepted: vulnerable, not_vulnerable, inconclusive"},
		{"bytes", `"+PONG"`, `"\xff"`, "redis-unauth.yaml:13:13: only ASCII is sent and compared"},
		{"guidance", "guidance/redis-unauth.md", "guidance/no.md", "redis-unauth.yaml:29:11: the guidance \"guidance/no.md\" can not be read"},
		{"file name", "id: redis-unauth", "id: redis-open", "name the file redis-open.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(good), c.old, c.replacement, 1)
			if text == string(good) {
				t.Fatal("the mistake was not made")
			}
			dir := fstest.MapFS{"redis-unauth.yaml": {Data: []byte(text)}, "guidance/redis-unauth.md": {Data: []byte("x")}}
			_, err := LoadFS(dir)
			if err == nil || !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}
