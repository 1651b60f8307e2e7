package serve_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/fault"
	"demarc/internal/serve"
	"demarc/internal/serve/demo"
)

// A mistake in a file is told once, with its place and with what would be right.
func TestAMistakeInTheConfigurationIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	base := fmt.Sprintf(configText, "http://127.0.0.1:5000/v3", "demarc", "security", "127.77.0.0/17", "127.77.255.10", "127.0.0.1", "2525", "127.77.200.0/24", "demarc.db") +
		"contracts:\n  - {id: K1, type: extended, projects: [p], from: 2026-01-01T00:00:00Z}\n"
	const (
		mode, version, project = "mode: enforce", "version: 1", "  project: security"
		noAct, noDryRun        = "cloud.act was removed", "dry_run was removed"
		inConfig               = " in the configuration (demarc.yaml)"
	)
	for name, c := range map[string]struct {
		old, wrong string // in the configuration, or in the policy
		policy     bool
		secret     string
		line       string // a part of the line that is at fault; "" where there is none to name
		says, hint string
	}{
		"an unknown key":          {old: "database: demarc.db", wrong: "database: demarc.db\ndatabse: x", line: "databse", says: "databse"},
		"an unknown inner key":    {old: project, wrong: "  projcet: security", line: "projcet", says: "projcet"},
		"a key twice":             {old: project, wrong: project + "\n  project: other", line: "project: other", says: "project"},
		"a bad CIDR":              {old: "127.77.0.0/17", wrong: "127.77.0.0/99", line: "127.77.0.0/99", says: "127.77.0.0/99"},
		"no CIDR":                 {old: "cidr: 127.77.0.0/17, ", wrong: "", line: "holder: provider", says: "has no cidr", hint: "192.0.2.0/24"},
		"a wrong zone of a block": {old: "zones: [internet]", wrong: "zones: [interent]", line: "interent", says: `unknown zone "interent"`, hint: "internet, institution"},
		"a wrong zone":            {old: "zone: internet,", wrong: "zone: moon,", line: "zone: moon", says: `unknown zone "moon"`, hint: "internet, institution"},
		"a bad source":            {old: "[127.77.255.10]", wrong: "[127.77.255]", line: "[127.77.255]", says: "127.77.255"},
		"no source":               {old: "[127.77.255.10]", wrong: "[]", line: "sources: []", says: "published sources"},
		"a bad length of time":    {old: "300ms", wrong: "300", line: "connect_timeout: 300", says: `"300"`, hint: "10m"},
		"a bad mail address":      {old: "from: demarc@cloud.example", wrong: "from: Demarc <demarc@cloud.example>", line: "from: Demarc", says: "not a plain mail address", hint: "name@example.org"},
		"no operators":            {old: "  operators: cloud-operators@cloud.example\n", wrong: "", says: "not a plain mail address", hint: "name@example.org"},
		"a bad tls":               {old: "tls: none", wrong: "tls: maybe", line: "tls: maybe", says: `"maybe"`, hint: "required, opportunistic, none"},
		"a bad contract":          {old: "type: extended", wrong: "type: golden", line: "golden", says: `unknown contract type "golden"`, hint: "extended"},
		"a contract that ended":   {old: "from: 2026-01-01T00:00:00Z", wrong: "from: 2026-01-01T00:00:00Z, to: 2025-01-01T00:00:00Z", line: "id: K1", says: "ends before it starts"},
		"a bad protocol":          {old: "proto: tcp", wrong: "proto: tpc", line: "proto: tpc", says: `"tpc"`, hint: "tcp, udp, icmp"},
		"a bad port":              {old: "port: 22,", wrong: "port: 70000,", line: "port: 70000", says: "70000", hint: "65535"},
		"no database":             {old: "database: demarc.db\n", wrong: "", says: "database is missing"},
		"no secret file":          {old: "password_file: cloud.secret", wrong: "password_file: gone.secret", line: "gone.secret", says: "cannot read the secret", hint: "must exist"},
		"an empty secret file":    {secret: " \n", line: "cloud.secret", says: "is empty"},
		"an account that is idle": {
			old:   mode,
			wrong: "mode: notify\nenforcement: {application_credential_id: x, application_credential_secret_file: cloud.secret}",
			line:  "enforcement:", says: "mode is notify", hint: "`mode: enforce`",
		},
		"half an account":         {old: mode, wrong: mode + "\nenforcement: {application_credential_id: x}", line: "enforcement:", says: "one complete account", hint: "clouds_entry"},
		"time too fast":           {old: mode, wrong: mode + "\nclock: {rate: 1000000}", line: "rate: 1000000", says: "1000000 times as fast", hint: "without it, 1"},
		"health for everybody":    {old: mode, wrong: mode + "\nhealth: 0.0.0.0:80", line: "health:", says: "no address and port on loopback", hint: "127.0.0.1:8610"},
		"an unknown approver":     {old: mode, wrong: mode + "\napprovers: [no-such-account-here]", line: "no-such-account-here", says: "no account", hint: "uid"},
		"no policy file":          {old: "policy: policy.yaml", wrong: "policy: gone.yaml", says: "cannot read the file"},
		"an unknown class":        {policy: true, old: "  U: {", wrong: "  Z: {", says: "class U has no clocks"},
		"a short grace":           {policy: true, old: "grace: 24h", wrong: "grace: 1h", says: "grace of 1h", hint: "at least 24h"},
		"a bad zone of time":      {policy: true, old: "Europe/Berlin", wrong: "Europe/Lundun", says: "Europe/Lundun", hint: "IANA"},
		"an unknown policy key":   {policy: true, old: version, wrong: version + "\nmoed: x", line: "moed", says: "moed"},
		"a mode in the policy":    {policy: true, old: version, wrong: version + "\nmode: enforce", line: "mode", says: "mode"},
		"an unknown mode":         {old: mode, wrong: "mode: Enforce", line: "mode: Enforce", says: `unknown mode "Enforce"`, hint: "observe, notify, enforce"},
		"act: true":               {old: project, wrong: project + "\n  act: true", line: "act: true", says: noAct, hint: "`mode: enforce`"},
		"act: false":              {old: project, wrong: project + "\n  act: false", line: "act: false", says: noAct, hint: "`mode: notify`"},
		"act without a value":     {old: project, wrong: project + "\n  act:", line: "act:", says: noAct, hint: "`mode: notify`"},
		"dry_run: true":           {policy: true, old: version, wrong: version + "\ndry_run: true", line: "dry_run", says: noDryRun, hint: "`mode: notify`" + inConfig},
		"dry_run: false":          {policy: true, old: version, wrong: version + "\ndry_run: false", line: "dry_run", says: noDryRun, hint: "`mode: enforce`" + inConfig},
		"dry_run without a value": {policy: true, old: version, wrong: version + "\ndry_run:", line: "dry_run", says: noDryRun, hint: "`mode: notify`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := map[string]string{"demarc.yaml": base, "policy.yaml": string(demo.PolicyYAML()), "cloud.secret": "x\n"}
			at := "demarc.yaml"
			if c.policy {
				at = "policy.yaml"
			}
			if c.secret != "" {
				files["cloud.secret"] = c.secret
			} else {
				files[at] = replaced(t, files[at], []string{c.old, c.wrong})
			}
			for n, text := range files {
				if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := serve.Load(filepath.Join(dir, "demarc.yaml"))
			f, ok := fault.Of(err)
			if !ok || f.Code != fault.Config {
				t.Fatalf("%v", err)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(f.Hint, c.hint) || strings.Count(err.Error(), f.Message) != 1 || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("it says %q, want %q with a hint of %q, once, on one line", err, c.says, c.hint)
			}
			if c.line != "" {
				lines := strings.Split(files[at], "\n")
				if f.At.Line < 1 || f.At.Line > len(lines) || !strings.Contains(lines[f.At.Line-1], c.line) || f.At.Col < 1 {
					t.Errorf("it points at %s, the mistake is at %q", f.At, c.line)
				}
				if place := fmt.Sprintf("%s:%d:%d: ", filepath.Join(dir, at), f.At.Line, f.At.Col); !strings.HasPrefix(err.Error(), place) {
					t.Errorf("%q does not begin with %q", err, place)
				}
			}
		})
	}
}
