package serve

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/policy"
)

const plainConfig = `database: d.db
policy_url: https://probing.example/
cloud: {name: campus, auth_url: "http://127.0.0.1:5000/v3", region: a, endpoints: {network: "http://127.0.0.1:9696"}}
netblocks:
  - {cidr: 127.9.0.0/24, holder: provider, zones: [internet], every: 1h}
vantages:
  - {name: internet, zone: internet, sources: [127.0.0.1]}
mail: {host: 127.0.0.1, port: 2525, tls: none, from: demarc@cloud.example, provider: p@cloud.example, operators: o@cloud.example, ehlo: mail.example}
quarantine: {admit: [{cidr: 127.0.5.5/32, proto: tcp, port: 22, purpose: "repair"}]}
contracts: [{id: c, type: extended, projects: [p], from: 2026-01-01, to: 2027-01-01}]
approvers: ["0"]
health: "[::1]:8610"
`

// FuzzConfig reads a configuration. What it names is not opened.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(plainConfig))
	f.Add([]byte("\ufeff" + strings.ReplaceAll(plainConfig, "\n", "\r\n")))
	f.Add([]byte("database: postgres://u@h/d\nmode: enforce\nenforcement: {clouds_file: a, clouds_entry: b}\n"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Config{}
		err := fault.DecodeYAML("demarc.yaml", data, c)
		if err == nil {
			c.BlocksFile, c.Duties, c.DBPassword = "", "", ""
			c.Cloud.PasswordFile, c.Cloud.CredentialFile, c.Enforce.CredentialFile, c.Mail.PasswordFile = "", "", "", ""
			c.Approvers = slices.DeleteFunc(c.Approvers, func(s string) bool { return s != "0" })
			err = c.check("demarc.yaml", data)
		}
		if err == nil {
			if len(c.Vantages) == 0 || c.Cloud.Name == "" || c.Mail.From == "" || c.contacts().Domain == "" {
				t.Fatalf("%+v", c)
			}
			return
		}
		f, ok := fault.Of(err)
		if !ok || f.Code != fault.Config && f.Code != fault.Refused || f.Message == "" || f.At.File != "demarc.yaml" {
			t.Fatalf("%#v", err)
		}
		if f.At.Line < 0 || f.At.Line > 1+bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r")) {
			t.Fatalf("line %d of %q", f.At.Line, data)
		}
	})
}

// FuzzNetblocks reads a file of netblocks and appends to it: the new file says what the old one said and the new entry, or it is not written.
func FuzzNetblocks(f *testing.F) {
	f.Add("- {cidr: 192.0.2.0/24, holder: provider}\n", "yes", uint8(24), true)
	f.Add("# none yet\r\n[]\r\n", "a: b", uint8(8), false)
	f.Add("  - cidr: 192.0.2.0/24\n    holder: 'x'", "\"\\\n", uint8(32), false)
	f.Add("- {cidr: 192.0.2.0/24, holder: provider}\n# end", "\u202e", uint8(0), true)
	f.Fuzz(func(t *testing.T, text, holder string, bits uint8, aggregate bool) {
		was, err := parseNetblocks("n.yaml", []byte(text))
		if err != nil {
			if f, ok := fault.Of(err); !ok || f.Code != fault.Config {
				t.Fatalf("%#v", err)
			}
			return
		}
		b := policy.Netblock{CIDR: prefix(bits), Holder: holder, Zones: []string{holder}, Aggregate: aggregate}
		if i, _, f := policy.CheckNetblocks([]policy.Netblock{b}); f != nil && i == 0 {
			return // it would be refused before
		}
		alone, err := parseNetblocks("n.yaml", []byte(netblockLine(b)+"\n"))
		if err != nil || len(alone) != 1 || !sameNetblock(alone[0], b) {
			t.Fatalf("%q is read as %+v, %v", netblockLine(b), alone, err)
		}
		written := appended(text, netblockLine(b))
		now, err := parseNetblocks("n.yaml", []byte(written))
		if err != nil || !slices.EqualFunc(now, append(slices.Clone(was), b), sameNetblock) {
			return // AddNetblock compares so, and then writes nothing
		}
		if len(was) > 0 && !strings.HasPrefix(written, text) {
			t.Fatalf("%q has become %q", text, written)
		}
		for line := range strings.Lines(text) {
			if at := strings.TrimSpace(line); strings.HasPrefix(at, "#") && !strings.Contains(written, at) {
				t.Fatalf("the comment %q of %q is lost: %q", at, text, written)
			}
		}
	})
}

// prefix is one of TEST-NET-2 or larger, without bits beyond its length.
func prefix(bits uint8) netip.Prefix {
	return netip.PrefixFrom(netip.MustParseAddr("198.51.100.128"), int(bits)%33).Masked()
}

// FuzzAsk reads a question at the socket.
func FuzzAsk(f *testing.F) {
	f.Add(`{"do":"approve","cases":["a","b"],"by":"x","why":"y","despite":["machine"]}` + "\n")
	f.Add(`{"do":"mode","mode":"notify"}` + "\n" + `{}`)
	f.Add(`{"cases":[` + strings.Repeat(`"x",`, 100))
	f.Add("\x00\n")
	f.Fuzz(func(t *testing.T, said string) {
		q, err := read(strings.NewReader(said))
		if err != nil {
			if f, ok := fault.Of(err); !ok || f.Code != fault.Usage {
				t.Fatalf("%#v", err)
			}
			return
		}
		b, err := json.Marshal(q)
		if err != nil || len(said) > longestAsk && !strings.Contains(said[:longestAsk], "\n") {
			t.Fatal(err)
		}
		again, err := read(strings.NewReader(string(b) + "\n"))
		if len(b) >= longestAsk {
			return // as it is written again it has become too long
		}
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		if c, err := json.Marshal(again); err != nil || !bytes.Equal(b, c) {
			t.Fatalf("%s, then %s, %v", b, c, err)
		}
	})
}

// decided asks a model about a machine of every scope that contracts and offerings name: each question has an answer.
func decided(t *testing.T, m *duty.Model, contracts []duty.Contract, offerings []duty.Offering, at int64) {
	t.Helper()
	rs := []duty.Resource{{}}
	for _, s := range scopesOf(contracts, offerings) {
		for _, p := range s.Projects {
			rs = append(rs, duty.Resource{Project: p})
		}
		for _, x := range s.Servers {
			rs = append(rs, duty.Resource{Server: x})
		}
	}
	for _, r := range rs[:min(len(rs), 8)] {
		r, n := m.Describe(r, at), 0
		m.Holdings(&r, func(h duty.Holding) {
			if n++; !slices.Contains(duty.Ownerships, h.Ownership) {
				t.Fatalf("%s of %+v is %q", h.Duty.ID, r, h.Ownership)
			}
		})
		if n != m.Questions() {
			t.Fatalf("%d of %d questions about %+v are answered", n, m.Questions(), r)
		}
	}
}

func scopesOf(contracts []duty.Contract, offerings []duty.Offering) (out []duty.Scope) {
	for _, c := range contracts {
		out = append(out, c.Scope)
	}
	for _, o := range offerings {
		out = append(out, o.Scope)
	}
	return out
}

// FuzzContracts reads contracts and offerings beside the default model.
func FuzzContracts(f *testing.F) {
	f.Add([]byte("contracts: [{id: c, type: extended, projects: [p], from: 2026-01-01, to: 2027-01-01T00:00:00+01:00}]\nofferings: [{id: o, service: paas, architecture: container, projects: [q]}]"))
	f.Add([]byte("contracts: [{id: c, type: extended, servers: [s], to: 0001-01-01}, {id: d, renews: c}]"))
	model, err := duty.Default()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v struct {
			Contracts []duty.Contract `yaml:"contracts"`
			Offerings []duty.Offering `yaml:"offerings"`
		}
		if fault.DecodeYAML("c.yaml", data, &v) != nil {
			return
		}
		m, err := model.With(v.Contracts, v.Offerings, func(path string) fault.Position { return fault.Nearest("c.yaml", data, path) })
		if err != nil {
			if f, ok := fault.Of(err); !ok || f.Code != fault.Config {
				t.Fatalf("%#v", err)
			}
			return
		}
		for at, ok := int64(0), true; ok; {
			was := at
			if at, ok = m.NextChange(was); ok && at <= was {
				t.Fatalf("the change after %d is at %d", was, at)
			}
			decided(t, m, v.Contracts, v.Offerings, was)
		}
	})
}
