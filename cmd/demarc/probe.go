package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"demarc/internal/detect"
	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/scan"
	"demarc/internal/untrusted"
	"demarc/internal/wire"
)

// maxEndpoints is how many endpoints one probe by hand may have.
const maxEndpoints = 65_536

// defaultPorts are asked where neither the target nor --ports names any.
const defaultPorts = "21-23,25,53,80,110,111,143,389,443,445,465,587,636,873,993,995,1883,2049,2375,2379,3000,3128,3306,3389,5000,5432,5672,5900,6000,6379,6443,8000,8080,8443,8888,9000,9090,9200,10250,11211,27017"

type probeFlags struct {
	netblocks string
	ports     string
	output    string
	source    string
	vantage   string
	namespace string
	policy    string
	rate      int
	hostRate  int
}

func probeCommand() *cobra.Command {
	var f probeFlags
	c := &cobra.Command{
		Use:   "probe TARGET…",
		Short: "Probe endpoints once, by hand",
		Long: `Probe endpoints once, by hand, without a server.

A target is an address, address:port, or a netblock. Loopback may always be probed. Everything else must
lie in a netblock of the file given with --netblocks, a list of what is yours:

    - cidr: 192.0.2.0/24
      holder: physics department

Probes are polite: few connections at a time to each host, no passwords tried, nothing written.
Silence is shown as such: it does not mean that there is nothing.

Exit status: 0 nothing found, 1 findings, 2 usage, 3 could not look.`,
		Example: `  demarc probe 127.0.0.1
  demarc probe 192.0.2.10:6379 --netblocks ours.yaml
  demarc probe 192.0.2.0/28 --netblocks ours.yaml --ports 22,80,8000-8100 --output json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Usage, "no target is given").Hinted("name an address, address:port, or a netblock")
			}
			return nil
		},
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, args []string) error {
			return runProbe(c.Context(), f, args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.SetFlagErrorFunc(flagFault)
	c.Flags().StringVar(&f.netblocks, "netblocks", "", "YAML file of the netblocks that are yours")
	c.Flags().StringVar(&f.ports, "ports", "", "ports and ranges, such as 22,80,1-1024 (default: some forty common ones)")
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table or json")
	c.Flags().StringVar(&f.source, "source", "", "address to send from")
	c.Flags().StringVar(&f.vantage, "vantage", "local", "name of this place, written into the observations")
	c.Flags().StringVar(&f.namespace, "namespace", "", "network namespace to send from; needs root")
	c.Flags().StringVar(&f.policy, "policy-url", "", "page that says who probes and why, told to what is probed")
	c.Flags().IntVar(&f.rate, "rate", 500, "connections per second in all")
	c.Flags().IntVar(&f.hostRate, "host-rate", 20, "connections per second to one host")
	return c
}

// flagFault makes a usage fault of what is wrong with a flag.
func flagFault(c *cobra.Command, err error) error {
	return fault.New(fault.Usage, "%w", err).Hinted("see %s --help", c.CommandPath())
}

// probeNetblock is one entry of the file.
type probeNetblock struct {
	CIDR   string `yaml:"cidr"`
	Holder string `yaml:"holder"`
}

// probed is one endpoint of the JSON output.
type probed struct {
	Endpoint string            `json:"endpoint"`
	Outcome  probe.Outcome     `json:"outcome"`
	Service  string            `json:"service,omitempty"`
	Product  untrusted.Text    `json:"product,omitzero"`
	Version  untrusted.Text    `json:"version,omitzero"`
	TLS      bool              `json:"tls,omitempty"`
	Flags    []string          `json:"flags,omitempty"`
	Findings []detect.Verdict  `json:"findings"`
	Observed probe.Observation `json:"observation"`
}

func runProbe(ctx context.Context, f probeFlags, args []string, out, errs io.Writer) error {
	if f.output != "table" && f.output != "json" {
		return fault.New(fault.Usage, "--output can not be %q", f.output).Hinted("accepted: table, json")
	}
	config, err := probeConfig(f)
	if err != nil {
		return err
	}
	targets, err := parseTargets(args, f.ports)
	if err != nil {
		return err
	}
	checks, err := detect.Load()
	if err != nil {
		return err
	}
	finish := showProgress(&config, errs)
	var engine wire.Engine = scan.New(config)
	var seen []probe.Observation
	cov, err := engine.Probe(ctx, probe.Shard{ID: "by-hand", Vantage: f.vantage, Purpose: probe.Manual, Targets: targets}, detect.Scripts(checks), func(o probe.Observation) { seen = append(seen, o) })
	finish()
	if err != nil {
		return hintNetblocks(err)
	}
	slices.SortFunc(seen, func(a, b probe.Observation) int { return a.Endpoint.Compare(b.Endpoint) })
	rows, hosts := judgeProbe(seen, checks, time.Now().UnixMicro())
	if f.output == "json" {
		err = writeProbeJSON(out, rows, hosts)
	} else {
		err = writeProbeTable(out, rows, hosts, cov)
	}
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return probeResult(rows, hosts, cov)
}

// probeResult is the answer to the question that the command asks.
func probeResult(rows []probed, hosts []detect.Located, cov probe.Coverage) error {
	n := len(hosts)
	for _, r := range rows {
		n += len(r.Findings)
	}
	switch {
	case n > 0:
		return fault.New(fault.Violation, "%s found", countOf(n, "weakness", "weaknesses"))
	case !cov.Complete:
		return fault.New(fault.CannotLook, "not every endpoint could be asked")
	}
	return nil
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func hintNetblocks(err error) error {
	if f, ok := fault.Of(err); ok && f.Code == fault.Refused {
		return f.Hinted("if it is yours, name its netblock in a file and give that with --netblocks; see demarc probe --help")
	}
	return err
}

func probeConfig(f probeFlags) (scan.Config, error) {
	c := scan.Config{Vantage: f.vantage, Loopback: true, Namespace: f.namespace, Rate: f.rate, HostRate: f.hostRate, Self: service.Self{Policy: f.policy}}
	if f.rate < 1 || f.hostRate < 1 {
		return c, fault.New(fault.Usage, "a rate is at least 1 per second")
	}
	if f.source != "" {
		a, err := netip.ParseAddr(f.source)
		if err != nil {
			return c, fault.New(fault.Usage, "--source %q is no address", f.source)
		}
		c.Sources = []netip.Addr{a}
	}
	if f.netblocks == "" {
		return c, nil
	}
	var blocks []probeNetblock
	if err := fault.ReadYAML(f.netblocks, &blocks); err != nil {
		return c, err
	}
	data, err := fault.ReadFile(f.netblocks)
	if err != nil {
		return c, err
	}
	for i, b := range blocks {
		p, err := netip.ParsePrefix(b.CIDR)
		if err != nil {
			return c, fault.New(fault.Config, "%q is no netblock", b.CIDR).In(fault.Place(f.netblocks, data, fmt.Sprintf("$[%d].cidr", i))).Hinted("write it as 192.0.2.0/24")
		}
		if p.Bits() == 0 || b.Holder == "" {
			return c, fault.New(fault.Config, "the netblock %s needs a holder, and can not be everything", b.CIDR).In(fault.Place(f.netblocks, data, fmt.Sprintf("$[%d].cidr", i)))
		}
		c.Allow = append(c.Allow, p.Masked())
	}
	return c, nil
}

// parseTargets makes endpoints of the arguments, each once.
func parseTargets(args []string, ports string) ([]probe.Endpoint, error) {
	if ports == "" {
		ports = defaultPorts
	}
	list, err := parsePorts(ports)
	if err != nil {
		return nil, err
	}
	seen := map[probe.Endpoint]bool{}
	var out []probe.Endpoint
	add := func(a netip.Addr, ports ...uint16) error {
		for _, p := range ports {
			e := probe.Endpoint{Addr: a.Unmap(), Proto: probe.TCP, Port: p}
			if seen[e] {
				continue
			}
			if len(out) == maxEndpoints {
				return fault.New(fault.Usage, "the targets have more than %d endpoints", maxEndpoints).Hinted("probe fewer addresses or ports at a time")
			}
			seen[e] = true
			out = append(out, e)
		}
		return nil
	}
	for _, arg := range args {
		if err := parseTarget(arg, list, add); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func parseTarget(arg string, ports []uint16, add func(netip.Addr, ...uint16) error) error {
	if a, err := netip.ParseAddr(arg); err == nil {
		return add(a, ports...)
	}
	if ap, err := netip.ParseAddrPort(arg); err == nil && ap.Port() > 0 {
		return add(ap.Addr(), ap.Port())
	}
	p, err := netip.ParsePrefix(arg)
	if err != nil {
		return fault.New(fault.Usage, "%q is no target", arg).Hinted("name an address, address:port ([address]:port for IPv6), or a netblock such as 192.0.2.0/28")
	}
	for a := p.Masked().Addr(); p.Contains(a); a = a.Next() {
		if err := add(a, ports...); err != nil {
			return err
		}
	}
	return nil
}

func parsePorts(s string) ([]uint16, error) {
	seen := make(map[uint16]bool)
	var out []uint16
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || a == 0 || b < a {
			return nil, fault.New(fault.Usage, "%q is no port or range of ports", part).Hinted("write 22,80,1-1024")
		}
		for p := a; p <= b; p++ {
			if !seen[uint16(p)] {
				seen[uint16(p)] = true
				out = append(out, uint16(p))
			}
		}
	}
	return out, nil
}

// showProgress draws a bar if somebody watches; what it returns takes it away again.
func showProgress(c *scan.Config, errs io.Writer) (finish func()) {
	f, ok := errs.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("looking for open ports"), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionShowCount())
	c.Progress = func(done, of int) {
		bar.ChangeMax(of)
		_ = bar.Set(done)
		if done == of {
			bar.Describe("listening to what is open")
		}
	}
	return func() { _ = bar.Finish() }
}

// judgeProbe judges what was seen: rows per endpoint, and what concerns a host as a whole.
func judgeProbe(seen []probe.Observation, checks []detect.Check, now int64) (rows []probed, hosts []detect.Located) {
	by := map[probe.Endpoint][]detect.Verdict{}
	for _, observations := range detect.ByAddress(seen) {
		for _, l := range detect.HostVerdicts(observations, checks, now) {
			switch {
			case l.Answer != detect.Vulnerable:
			case l.Locus == "host":
				hosts = append(hosts, l)
			default:
				by[l.Endpoint] = append(by[l.Endpoint], l.Verdict)
			}
		}
	}
	for _, o := range seen {
		r := probed{Endpoint: o.Endpoint.String(), Outcome: o.Facts.Outcome, Findings: by[o.Endpoint], Observed: o}
		if r.Findings == nil {
			r.Findings = []detect.Verdict{}
		}
		if s := o.Facts.Service; s != nil {
			r.Service, r.Product, r.Version, r.TLS, r.Flags = s.Name, s.Product, s.Version, s.TLS != nil, s.Flags
		}
		rows = append(rows, r)
	}
	return rows, hosts
}

func writeProbeJSON(out io.Writer, rows []probed, hosts []detect.Located) error {
	for _, h := range hosts {
		rows = append(rows, probed{Endpoint: h.Endpoint.Addr.String(), Outcome: probe.Open, Findings: []detect.Verdict{h.Verdict}})
	}
	if rows == nil {
		rows = []probed{}
	}
	return writeIndented(out, rows)
}

// writeProbeTable shows what is open or could not be asked, one line each, and counts the rest. Of a tarpit
// only the host is shown.
func writeProbeTable(out io.Writer, rows []probed, hosts []detect.Located, cov probe.Coverage) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ENDPOINT\tOUTCOME\tSERVICE\tPRODUCT\tFINDINGS")
	rest := map[probe.Outcome]int{}
	hidden := map[netip.Addr]bool{}
	for _, h := range hosts {
		hidden[h.Endpoint.Addr] = true
		_, _ = fmt.Fprintf(w, "%s\tall open\t%s\t\t%s\n", h.Endpoint.Addr, probe.Unknown, probeFinding(h.Verdict))
	}
	for _, r := range rows {
		switch {
		case hidden[r.Observed.Endpoint.Addr]:
		case r.Outcome == probe.Open:
			name := r.Service
			if r.TLS {
				name += "/tls"
			}
			product := strings.TrimSpace(r.Product.Terminal() + " " + r.Version.Terminal())
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Endpoint, r.Outcome, name, product, strings.Join(probeNotes(r), ", "))
		case r.Outcome == probe.Failed:
			_, _ = fmt.Fprintf(w, "%s\t%s\t\t\t%s\n", r.Endpoint, r.Outcome, untrusted.From(r.Observed.Trouble).Terminal())
		case len(rows) <= 8:
			_, _ = fmt.Fprintf(w, "%s\t%s\t\t\t\n", r.Endpoint, r.Outcome)
		default:
			rest[r.Outcome]++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, o := range []probe.Outcome{probe.Closed, probe.Filtered, probe.Silent} {
		if rest[o] > 0 {
			_, _ = fmt.Fprintf(out, "%s not shown: %s\n", countOf(rest[o], "endpoint", "endpoints"), o)
		}
	}
	_, err := fmt.Fprintf(out, "%s made, %d of %d endpoints answered.\n", countOf(cov.Sent, "connection", "connections"), cov.Answered, len(rows))
	return err
}

func probeNotes(r probed) []string {
	var out []string
	for _, v := range r.Findings {
		out = append(out, probeFinding(v))
	}
	for _, f := range r.Flags {
		out = append(out, "flag "+f)
	}
	return out
}

func probeFinding(v detect.Verdict) string {
	return fmt.Sprintf("%s (%s, %s)", v.Check, v.Severity, v.Grade)
}
