package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/finding"
)

// servers is how many the scenario variety has.
const servers = 17

// weakness is what a check can recognise in the scenario.
type weakness struct {
	server, check string // the server as it is called in the cloud
	project       string
	owner         string // who gets the mail
	endpoint      string
}

const (
	astro, ana     = `Astro & "Söhne": #1`, "ana@astro.example"
	biology, bob   = "Biologie ☘", "bob@biology.example"
	chemistry, cy  = "-x --help", "cy@chemistry.example"
	disabledPerson = "gone@astro.example"
)

var weaknesses = []weakness{
	{`O'Brien's "box"; $(reboot)`, "redis-unauth", astro, ana, "203.0.113.102:6379"},
	{`O'Brien's "box"; $(reboot)`, "telnet-exposed", astro, ana, "203.0.113.102:23"},
	{"two-nics", "redis-unauth", astro, ana, "203.0.113.103:6379"},
	{"two-addresses", "tls-expired", astro, ana, "203.0.113.104:443"},
	{"two-addresses", "telnet-exposed", astro, ana, "203.0.113.105:23"},
	{"inside", "telnet-exposed", astro, ana, "203.0.113.106:23"},
	{"guest", "eol-os-debian", biology, bob, "203.0.113.107:22"},
	{"サーバー 1", "directory-listing", biology, bob, "203.0.113.108:8000"},
	{"サーバー 1", "git-exposed", biology, bob, "203.0.113.108:8080"},
	{"サーバー 1", "ssh-v1-offered", biology, bob, "203.0.113.108:22"},
	{"numbered", "redis-unauth", biology, bob, "203.0.113.110:6379"},
	{"anything", "tarpit-host", biology, bob, "203.0.113.111:1"},
	{"-la", "redis-unauth", chemistry, cy, "203.0.113.115:7777"},
	{"-la", "telnet-exposed", chemistry, cy, "203.0.113.115:2323"},
	{"forward-redis", "redis-unauth", chemistry, cy, "203.0.113.120:16379"},
	{"forward-telnet", "telnet-exposed", chemistry, cy, "203.0.113.120:2323"},
	{"bare", "ssh-v1-offered", chemistry, cy, "203.0.113.50:22"},
	{"bare", "telnet-exposed", chemistry, cy, "203.0.113.50:992"},
}

// probing are the checks that send something.
var probing = []string{"eol-os-debian", "git-exposed", "directory-listing", "jupyter-unauth", "postgres-trust", "redis-unauth",
	"ssh-v1-offered", "tarpit-host", "telnet-exposed", "tls-expired"}

// row is what demarc exposure list prints of an endpoint, or of a run of ports.
type row struct {
	Vantage  string     `json:"vantage"`
	Addr     netip.Addr `json:"addr"`
	Proto    string     `json:"proto"`
	First    uint16     `json:"first"`
	Last     uint16     `json:"last"`
	Observed string     `json:"observed"`
	Ports    int        `json:"ports"`
	Probed   int        `json:"probed"`
}

// compare prints the table: what nmap sees, what is listed there and what was found there.
func (e *exam) compare(ctx context.Context) error {
	s, err := e.d.DB.Snapshot(ctx, "testbed", 0)
	if err != nil {
		return err
	}
	e.count.Servers = len(s.Servers)
	e.must(len(s.Servers) == servers, "the inventory has %d servers, the scenario %d", len(s.Servers), servers)
	found, err := e.findings(ctx, s)
	if err != nil {
		return err
	}
	rows, err := e.listing(ctx)
	if err != nil {
		return err
	}
	addresses := addressesOf(s)
	for _, vantage := range []string{"internet", "institution"} {
		seen, err := e.nmap(ctx, vantage, addresses)
		if err != nil {
			return err
		}
		e.openPorts(vantage, seen, rows, found)
	}
	e.expected(rows, found)
	return nil
}

// reported is a finding with the names of its server and project.
type reported struct {
	finding.Finding
	server, project string
}

func (e *exam) findings(ctx context.Context, s *asset.Snapshot) ([]reported, error) {
	servers, projects := map[asset.ServerID]string{}, map[asset.ProjectID]string{}
	for _, v := range s.Servers {
		servers[v.ID] = v.Name.Raw()
	}
	for _, p := range s.Projects {
		projects[p.ID] = p.Name.Raw()
	}
	all, err := e.d.DB.Findings(ctx, access.Operator(), finding.Filter{})
	if err != nil {
		return nil, err
	}
	var out []reported
	for _, f := range all {
		if slices.Contains(probing, f.Key.Check) {
			out = append(out, reported{f, servers[f.Key.Server], projects[f.Project]})
		}
	}
	e.count.Findings = len(out)
	return out, nil
}

// listing is what an operator reads.
func (e *exam) listing(ctx context.Context) ([]row, error) {
	program := filepath.Join(e.dir, "demarc")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/demarc").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building demarc: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, "exposure", "list", "--config", e.configFile(), "--output", "json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("demarc exposure list: %w", err)
	}
	var rows []row
	return rows, json.Unmarshal(out, &rows)
}

// addressesOf are the addresses that the world outside may have a way to.
func addressesOf(s *asset.Snapshot) []netip.Addr {
	var out []netip.Addr
	for _, f := range s.FloatingIPs {
		out = append(out, f.Addr)
	}
	for _, p := range s.Ports {
		for _, a := range p.FixedIPs {
			if p.Server != "" && !a.Addr.IsPrivate() {
				out = append(out, a.Addr)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

var nmapPort = regexp.MustCompile(`(\d+)/open/tcp`)

// nmap asks every TCP port of the addresses from a vantage point.
func (e *exam) nmap(ctx context.Context, vantage string, addresses []netip.Addr) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for _, family := range []bool{true, false} {
		args := []string{"exec", vantage, "nmap", "-sT", "-Pn", "-n", "-T4", "--min-rate", "2000", "--max-rate", "6000", "--max-retries", "2",
			"-p1-65535", "-oG", "-"}
		if !family {
			args = append(args, "-6")
		}
		for _, a := range addresses {
			if a.Is4() == family {
				args = append(args, a.String())
			}
		}
		text, err := exec.CommandContext(ctx, e.testbed, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("nmap from %s: %w", vantage, err)
		}
		out = append(out, openOf(string(text))...)
	}
	return out, nil
}

// openOf reads nmap's greppable output.
func openOf(text string) []netip.AddrPort {
	var out []netip.AddrPort
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "Host:" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err != nil {
			continue
		}
		for _, m := range nmapPort.FindAllStringSubmatch(line, -1) {
			if port, err := strconv.ParseUint(m[1], 10, 16); err == nil {
				out = append(out, netip.AddrPortFrom(addr, uint16(port)))
			}
		}
	}
	return out
}

// listed tells what the listing says of an endpoint: the row that answers there, else a run around it.
func listed(rows []row, vantage string, at netip.AddrPort) (row, bool) {
	var run row
	ok := false
	for _, r := range rows {
		if r.Proto != "tcp" || r.Vantage != vantage || r.Addr != at.Addr() || at.Port() < r.First || at.Port() > r.Last {
			continue
		}
		if r.Observed == "answers" {
			return r, true
		}
		run, ok = r, true
	}
	return run, ok
}

// openPorts compares what nmap sees with the listing. A host where everything answers is one line of the table.
func (e *exam) openPorts(vantage string, seen []netip.AddrPort, rows []row, found []reported) {
	perHost := map[netip.Addr]int{}
	for _, at := range seen {
		perHost[at.Addr()]++
	}
	e.count.Ports += len(seen)
	printed := map[netip.Addr]bool{}
	for _, at := range seen {
		r, ok := listed(rows, vantage, at)
		known := ok && r.Observed == "answers"
		unprobed := ok && !known && r.Probed < r.Ports
		e.must(known || unprobed, "%s from %s: nmap sees it open, the listing has %+v", at, vantage, r)
		if unprobed {
			e.count.Unprobed++
		}
		if many := perHost[at.Addr()] > 1000; !many || !printed[at.Addr()] {
			printed[at.Addr()] = true
			fmt.Printf("| %s | %s | open (%d at this address) | %s | %s |\n", at, vantage, perHost[at.Addr()], said(r, ok), foundAt(found, vantage, at))
		}
	}
}

func said(r row, ok bool) string {
	switch {
	case !ok:
		return "nothing"
	case r.Observed == "answers":
		return "answers"
	}
	return fmt.Sprintf("%d-%d: %s, %d of %d probed", r.First, r.Last, r.Observed, r.Probed, r.Ports)
}

func foundAt(found []reported, vantage string, at netip.AddrPort) string {
	var out []string
	for _, f := range found {
		if f.Vantage == vantage && f.Endpoint.Addr == at.Addr() && f.Endpoint.Port == at.Port() {
			out = append(out, fmt.Sprintf("%s: %s of %s", f.Key.Check, f.server, f.project))
		}
	}
	return strings.Join(out, ", ")
}

// expected compares the findings with the weaknesses of the scenario, both ways, and with the mails.
func (e *exam) expected(rows []row, found []reported) {
	for _, w := range weaknesses {
		is := func(f reported) bool { return f.server == w.server && f.Key.Check == w.check }
		at := netip.MustParseAddrPort(w.endpoint)
		r, ok := listed(rows, "institution", at) // every weakness is open to the institution
		if !slices.ContainsFunc(found, is) && ok && r.Observed != "answers" && r.Probed < r.Ports {
			e.count.Unprobed++
			fmt.Printf("%s on %s is no finding yet: %s\n", w.check, w.server, said(r, ok))
			continue
		}
		e.must(slices.ContainsFunc(found, is), "%s on %s is no finding; at %s the listing says %s", w.check, w.server, w.endpoint, said(r, ok))
		for _, f := range found {
			if is(f) {
				e.must(f.project == w.project && f.Duty.Party == "customer", "%s on %s is assigned to %s of %s", w.check, w.server, f.Duty.Party, f.project)
			}
		}
		e.must(len(e.box.For(w.owner)) > 0, "%s has no mail, and %s on %s is a finding", w.owner, w.check, w.server)
	}
	for _, f := range found {
		known := slices.ContainsFunc(weaknesses, func(w weakness) bool { return f.server == w.server && f.Key.Check == w.check })
		e.must(known, "%s on %s at %s is a finding, and the scenario has no such weakness", f.Key.Check, f.server, f.Endpoint)
	}
	e.must(len(e.box.For(disabledPerson)) == 0, "a disabled user has mail")
}
