package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/fault"
	"demarc/internal/policy"
)

const goodConfig = `database: demarc.db
policy: policy.yaml
policy_url: https://cloud.example/probing
cloud: {name: c}
netblocks:
  - {cidr: 127.77.0.0/17, holder: provider, zones: [internet]}
vantages:
  - {name: v, zone: internet, sources: [192.0.2.10], connect_timeout: 2s}
contracts:
  - {id: A, type: standard, projects: [p], from: 2026-01-01T00:00:00Z}
mail: {host: mx.example, tls: none, from: a@cloud.example, provider: b@cloud.example, operators: c@cloud.example}
quarantine:
  admit:
    - {cidr: 192.0.2.0/24, proto: tcp, port: 22}
`

// What an operator mistypes is refused when the file is read, with its place and what to write.
func TestAConfigurationIsRefusedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ old, new, place, want, hint string }{
		"not a netblock":      {"127.77.0.0/17", "everything", "demarc.yaml:6:12", `"everything" is not a netblock`, "write 192.0.2.0/24"},
		"a length too long":   {"127.77.0.0/17", "127.77.0.0/33", "demarc.yaml:6:12", "is not a netblock", "write 192.0.2.0/24"},
		"a bare address":      {"127.77.0.0/17", "127.77.0.1", "demarc.yaml:6:12", "an address, not a netblock", "write 127.77.0.1/32"},
		"host bits":           {"127.77.0.0/17", "127.77.0.1/17", "demarc.yaml:6:12", "bits beyond its length", "write 127.77.0.0/17"},
		"no netblock":         {"cidr: 127.77.0.0/17, ", "", "demarc.yaml:6", "has no cidr", "192.0.2.0/24"},
		"zone of a netblock":  {"zones: [internet]", "zones: [moon]", "demarc.yaml:6:53", `unknown zone "moon"`, "internet, institution"},
		"zone of a vantage":   {"zone: internet,", "zone: moon,", "demarc.yaml:8:21", `unknown zone "moon"`, "internet, institution"},
		"not an address":      {"[192.0.2.10]", "[192.0.2.300]", "demarc.yaml:8:41", "is not an IP address", "write 192.0.2.10"},
		"not a length":        {"connect_timeout: 2s", "connect_timeout: soon", "demarc.yaml:8:71", "not a length of time", "36h"},
		"not a time":          {"2026-01-01T00:00:00Z", "yesterday", "demarc.yaml:10:50", `"yesterday" is not a time`, "2026-01-31T00:00:00Z"},
		"contract type":       {"type: standard", "type: golden", "demarc.yaml:10:19", "unknown contract type", "standard"},
		"mail.tls":            {"tls: none", "tls: maybe", "demarc.yaml:11:31", `unknown mail.tls "maybe"`, "required, opportunistic, none"},
		"unknown key":         {"database:", "databse:", "demarc.yaml:1:1", `unknown field "databse"`, "accepted here: database, database_password_file, audit_heads, policy"},
		"unknown key within":  {"zone: internet,", "zome: internet,", "demarc.yaml:8:15", `unknown field "zome"`, "name, zone, sources"},
		"password in a URL":   {"demarc.db", "postgres://d:canary@h/demarc", "demarc.yaml:1:11", "has a password in it", "database_password_file"},
		"password below":      {"demarc.db", "postgresql://d@h/demarc?password=canary", "demarc.yaml:1:11", "has a password in it", "database_password_file"},
		"password in a ruin":  {"demarc.db", "postgres://d:can%ary@h/demarc", "demarc.yaml:1:11", "cannot be read", "postgres://user@host:5432/database"},
		"no database named":   {"demarc.db", "postgres://d@h", "demarc.yaml:1:11", "names no database", "postgres://user@host:5432/database"},
		"password of a file":  {"demarc.db", "demarc.db\ndatabase_password_file: secret", "demarc.yaml:2:25", "a SQLite file has no password", "postgres://"},
		"no password file":    {"demarc.db", "postgres://d@h/demarc\ndatabase_password_file: gone", "demarc.yaml:2:25", "cannot read the secret", "must exist"},
		"protocol":            {"proto: tcp", "proto: tpc", "demarc.yaml:14:35", `unknown protocol "tpc"`, "tcp, udp, icmp"},
		"port without proto":  {"proto: tcp, ", "", "demarc.yaml:14:", "a port needs proto", ""},
		"missing":             {"policy_url: https://cloud.example/probing\n", "", "demarc.yaml", "policy_url is missing", ""},
		"guidance: scheme":    {"cloud: {name: c}", "guidance_url: ftp://cloud.example/\ncloud: {name: c}", "demarc.yaml:4:15", "is no address of published pages", "https://cloud.example/guidance/"},
		"guidance: no host":   {"cloud: {name: c}", "guidance_url: /guidance\ncloud: {name: c}", "demarc.yaml:4:15", "is no address of published pages", "https://"},
		"guidance: query":     {"cloud: {name: c}", "guidance_url: https://cloud.example/?page=\ncloud: {name: c}", "demarc.yaml:4:15", "is no address of published pages", "without user, query"},
		"guidance: user":      {"cloud: {name: c}", "guidance_url: https://ann@cloud.example/\ncloud: {name: c}", "demarc.yaml:4:15", "is no address of published pages", "without user"},
		"policy: end":         {"end: report", "end: delete", "policy.yaml:20:", "unknown end", "quarantine"},
		"policy: time zone":   {"time_zone: UTC", "time_zone: Mars/Olympus", "policy.yaml:4:12", "unknown time zone", "Europe/London"},
		"policy: length":      {"lift_gap: 10m", "lift_gap: soon", "policy.yaml:35:13", "not a length of time", "36h"},
		"policy: short":       {"fixed_gap: 30m", "fixed_gap: 5m", "policy.yaml:36:14", "proof.fixed_gap is 5m0s", "at least 30m"},
		"policy: grace":       {"grace: 24h, end: quarantine", "grace: 1h, end: quarantine", "policy.yaml:17:", "grace of 1h", "at least 24h"},
		"policy: share":       {"cloud_share_per_day: 0.02", "cloud_share_per_day: 2", "policy.yaml:32:24", "share is above 1", ""},
		"policy: unknown key": {"proof:", "proof:\n  soon: 1m", "policy.yaml:35:3", `unknown field "soon"`, "lift_gap, fixed_gap"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config, rules := goodConfig, string(policy.DefaultYAML())
			if strings.HasPrefix(name, "policy: ") {
				rules = strings.Replace(rules, c.old, c.new, 1)
			} else {
				config = strings.Replace(config, c.old, c.new, 1)
			}
			for file, text := range map[string]string{"demarc.yaml": config, "policy.yaml": rules} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := Load(filepath.Join(dir, "demarc.yaml"))
			f, ok := fault.Of(err)
			if !ok {
				t.Fatalf("got %v, want a fault", err)
			}
			if f.Code != fault.Config || !strings.HasPrefix(strings.TrimPrefix(f.At.String(), dir+"/"), c.place) || !strings.Contains(f.Message, c.want) || !strings.Contains(f.Hint, c.hint) {
				t.Errorf("got %v, want %s: %s (%s)", err, c.place, c.want, c.hint)
			}
			if strings.Contains(err.Error(), "can") && strings.Contains(err.Error(), "ary") {
				t.Errorf("the password is in the message: %v", err)
			}
		})
	}
}

func TestTheGoodConfigurationIsRead(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"demarc.yaml": goodConfig, "policy.yaml": string(policy.DefaultYAML())} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Load(filepath.Join(dir, "demarc.yaml")); err != nil {
		t.Fatal(err)
	}
}

// The database is a path beside the file or a URL as it stands; the heads of its log are never in it.
func TestWhereTheDatabaseAndItsHeadsAre(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ database, more, place, heads string }{
		{"demarc.db", "", dir + "/demarc.db", dir + "/demarc.db.heads"},
		{"/var/lib/x.db", "", "/var/lib/x.db", "/var/lib/x.db.heads"},
		{"demarc.db", "\naudit_heads: /mnt/other/heads", dir + "/demarc.db", "/mnt/other/heads"},
		{"postgres://d@h:5433/demarc?sslrootcert=ca.pem", "\ndatabase_password_file: secret", "postgres://d@h:5433/demarc?sslrootcert=ca.pem", dir + "/demarc.heads"},
		{"postgresql://d@h/demarc", "\naudit_heads: heads/of.log", "postgresql://d@h/demarc", dir + "/heads/of.log"},
	} {
		for file, text := range map[string]string{"demarc.yaml": strings.Replace(goodConfig, "demarc.db", c.database+c.more, 1), "policy.yaml": string(policy.DefaultYAML()), "secret": "x\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		conf, _, err := Load(filepath.Join(dir, "demarc.yaml"))
		if err != nil {
			t.Errorf("%s: %v", c.database, err)
			continue
		}
		if conf.DatabasePath() != c.place || conf.HeadsPath() != c.heads {
			t.Errorf("%s: %s, %s", c.database, conf.DatabasePath(), conf.HeadsPath())
		}
	}
}
