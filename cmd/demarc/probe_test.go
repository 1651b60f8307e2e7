package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"demarc/internal/detect"
	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/scan"
	"demarc/internal/wire"
)

var _ wire.Engine = (*scan.Engine)(nil)

// play is a listener that answers as a recording does.
func play(t *testing.T, name, addr string) string {
	t.Helper()
	recordings, err := detect.LoadRecordings(detect.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	var r *detect.Recording
	for i := range recordings {
		if recordings[i].Name == name {
			r = &recordings[i]
		}
	}
	if r == nil {
		t.Fatalf("there is no recording %s", name)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { playAnswer(c, r) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func playAnswer(c net.Conn, r *detect.Recording) {
	defer c.Close() //nolint:errcheck // a test's end
	var heard []byte
	for buf := make([]byte, 4096); ; {
		reply := r.Reply(service.Ask{Send: heard})
		if _, err := c.Write(reply.Bytes); err != nil {
			return
		}
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		heard = buf[:n]
	}
}

func callCommand(t *testing.T, c *cobra.Command, args ...string) (out string, err error) {
	t.Helper()
	var b, errs bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&b)
	c.SetErr(&errs)
	err = c.ExecuteContext(t.Context())
	if errs.Len() > 0 {
		t.Errorf("without a terminal, standard error stays empty: %q", errs.String())
	}
	return b.String(), err
}

func TestProbeFindsAnOpenRedis(t *testing.T) {
	t.Parallel()
	target := play(t, "redis-open", "127.0.30.1:0")
	out, err := callCommand(t, probeCommand(), target)
	if fault.Exit(err) != 1 || !fault.Is(err, fault.Violation) {
		t.Errorf("exit %d: %v", fault.Exit(err), err)
	}
	if !strings.Contains(out, target+"/tcp") || !strings.Contains(out, "redis-unauth (critical, proved)") || !strings.Contains(out, "Redis 7.0.15") {
		t.Error(out)
	}
}

func TestProbeFindsNothingOnAHardenedRedis(t *testing.T) {
	t.Parallel()
	out, err := callCommand(t, probeCommand(), play(t, "redis-password", "127.0.30.2:0"))
	if fault.Exit(err) != 0 || !strings.Contains(out, "redis") || strings.Contains(out, "redis-unauth") {
		t.Errorf("exit %d: %v\n%s", fault.Exit(err), err, out)
	}
}

func TestProbeSpeaksJSON(t *testing.T) {
	t.Parallel()
	target := play(t, "nginx-git", "127.0.30.3:0")
	out, err := callCommand(t, probeCommand(), target, "127.0.30.3:1", "--output", "json", "--vantage", "desk")
	if fault.Exit(err) != 1 {
		t.Errorf("exit %d: %v", fault.Exit(err), err)
	}
	var rows []struct {
		Endpoint, Outcome, Service, Product, Version string
		Findings                                     []struct {
			Check, Answer, Grade string
			Evidence             map[string]string
		}
		Observation struct{ Vantage string }
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(rows) != 2 || rows[0].Outcome != "closed" || rows[1].Endpoint != target+"/tcp" || rows[1].Product != "nginx" || rows[1].Observation.Vantage != "desk" {
		t.Fatalf("%+v", rows)
	}
	if f := rows[1].Findings; len(f) != 1 || f[0].Check != "git-exposed" || f[0].Grade != "proved" || f[0].Evidence["server"] != "nginx/1.22.1" {
		t.Errorf("%+v", rows[1].Findings)
	}
	if !strings.Contains(out, `"findings": []`) {
		t.Error("an endpoint without findings has an empty list")
	}
}

func TestProbeRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	ours := filepath.Join(t.TempDir(), "ours.yaml")
	if err := os.WriteFile(ours, []byte("- cidr: 192.0.2.0/28\n  holder: physics\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"192.0.2.1"}, {"192.0.2.16:22", "--netblocks", ours}, {"127.0.0.1:1", "198.51.100.0/30", "--netblocks", ours}} {
		out, err := callCommand(t, probeCommand(), args...)
		f, ok := fault.Of(err)
		if !ok || f.Code != fault.Refused || !strings.Contains(f.Hint, "--netblocks") || fault.Exit(err) != 2 || out != "" {
			t.Errorf("%v: %v %q", args, err, out)
		}
	}
}

func TestProbeMistakesAreExplained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"no target is given", nil},
		{"unknown flag: --port", []string{"127.0.0.1", "--port", "22"}},
		{`"example.org" is no target`, []string{"example.org"}},
		{`"22-" is no port`, []string{"127.0.0.1", "--ports", "22-"}},
		{`"70000" is no port`, []string{"127.0.0.1", "--ports", "70000"}},
		{"more than 65536 endpoints", []string{"127.0.0.0/8"}},
		{"--output can not be \"xml\"", []string{"127.0.0.1", "--output", "xml"}},
		{"--source \"me\" is no address", []string{"127.0.0.1", "--source", "me"}},
		{"a.yaml:2:9: \"192.0.2.0/99\" is no netblock", []string{"127.0.0.1", "--netblocks", file("a.yaml", "- holder: x\n  cidr: 192.0.2.0/99\n")}},
		{"b.yaml:1:3: unknown field \"owner\"", []string{"127.0.0.1", "--netblocks", file("b.yaml", "- owner: x\n  cidr: 192.0.2.0/24\n")}},
		{"can not be everything", []string{"127.0.0.1", "--netblocks", file("c.yaml", "- holder: x\n  cidr: 0.0.0.0/0\n")}},
		{"cannot read the file", []string{"127.0.0.1", "--netblocks", filepath.Join(dir, "none.yaml")}},
	} {
		_, err := callCommand(t, probeCommand(), c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.Exit(err) != 2 {
			t.Errorf("%v: exit %d, %v", c.args, fault.Exit(err), err)
		}
	}
}

// What could not be asked is not clean.
func TestProbeThatCouldNotLook(t *testing.T) {
	t.Parallel()
	out, err := callCommand(t, probeCommand(), "127.0.30.9:1", "--source", "192.0.2.200")
	if fault.Exit(err) != 3 || !fault.Is(err, fault.CannotLook) || !strings.Contains(out, "failed") {
		t.Errorf("exit %d: %v\n%s", fault.Exit(err), err, out)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	got, err := parseTargets([]string{"192.0.2.0/30", "192.0.2.1", "[2001:db8::1]:22", "::ffff:192.0.2.3"}, "80,22,80")
	if err != nil || len(got) != 9 {
		t.Fatalf("%d endpoints: %v, %v", len(got), got, err)
	}
	if got[8].Addr != netip.MustParseAddr("2001:db8::1") || got[8].Port != 22 {
		t.Errorf("%v", got[8])
	}
	if _, err := parseTargets([]string{"127.0.0.1"}, "1-65535"); err != nil {
		t.Error(err)
	}
}

func TestCheckCommands(t *testing.T) {
	t.Parallel()
	out, err := callCommand(t, checkCommand(), "list")
	if err != nil || !strings.Contains(out, "redis-unauth") || strings.Count(out, "\n") < 9 {
		t.Errorf("%v\n%s", err, out)
	}
	for id, want := range map[string]string{
		"postgres-trust": "pg_tls demarc-no-such-role", "git-exposed": "http_get /demarc-c41e8d27", "eol-os-debian": "2028-06-30, debian 12",
	} {
		if out, err = callCommand(t, checkCommand(), "show", id); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", id, err, out)
		}
	}
	out, err = callCommand(t, checkCommand(), "show", "redis-unauth")
	if err != nil || !strings.Contains(out, "application, secure") || !strings.Contains(out, "requirepass") {
		t.Errorf("%v\n%s", err, out)
	}
	_, err = callCommand(t, checkCommand(), "show", "nothing")
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "redis-unauth") {
		t.Errorf("%v", err)
	}
	out, err = callCommand(t, checkCommand(), "test")
	if err != nil || !strings.Contains(out, " 0 failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = callCommand(t, checkCommand(), "show"); fault.Exit(err) != 2 {
		t.Errorf("show without an id: %v", err)
	}
	var checks []struct{ ID, Layer, Aspect string }
	out, err = callCommand(t, checkCommand(), "list", "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &checks) != nil || len(checks) < 9 || checks[0].Layer == "" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCheckTestOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, detect.Embedded()); err != nil {
		t.Fatal(err)
	}
	if out, err := callCommand(t, checkCommand(), "test", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := filepath.Join(dir, "redis-unauth.yaml")
	text, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	write := func(old, replacement string) {
		if err := os.WriteFile(p, bytes.Replace(text, []byte(old), []byte(replacement), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`"+PONG"`, `"+GNOP"`)
	out, err := callCommand(t, checkCommand(), "test", dir)
	if fault.Exit(err) != 1 || !strings.Contains(fmt.Sprint(err), "redis-unauth on redis-open") || strings.Contains(out, " 0 failed") {
		t.Errorf("exit %d: %v\n%s", fault.Exit(err), err, out)
	}
	write(`prefix: "+PONG"`, `begins: "+PONG"`)
	_, err = callCommand(t, checkCommand(), "test", dir)
	if fault.Exit(err) != 2 || !strings.Contains(fmt.Sprint(err), "redis-unauth.yaml:13:14") {
		t.Errorf("exit %d: %v", fault.Exit(err), err)
	}
	_, err = callCommand(t, checkCommand(), "test", filepath.Join(dir, "none"))
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}
