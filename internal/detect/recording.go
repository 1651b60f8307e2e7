package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"demarc/internal/detect/service"
	"demarc/internal/fault"
	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// Recording is what one server answers to each question, and what the checks must make of it.
type Recording struct {
	Name     string            `yaml:"-"`
	About    string            `yaml:"about"`            // which server, how configured
	Source   string            `yaml:"source"`           // recorded from a real server, or written by hand and why
	Endpoint string            `yaml:"endpoint"`         // address:port, for the port's hint
	At       string            `yaml:"at"`               // time of judgement, RFC 3339
	Flags    []string          `yaml:"flags,omitempty"`  // as discovery would set them
	Expect   map[string]Answer `yaml:"expect,omitempty"` // check: answer; checks left out must not be vulnerable
	TLS      *RecordedTLS      `yaml:"tls,omitempty"`    // without it, a TLS handshake fails
	Answers  []Recorded        `yaml:"answers"`
}

// RecordedTLS is what a handshake showed.
type RecordedTLS struct {
	Version   string `yaml:"version"`
	NotBefore string `yaml:"not_before"`
	NotAfter  string `yaml:"not_after"`
	Subject   string `yaml:"subject"`
}

// Recorded is one answer. Asks are named as Question names them; "*" stands for all that are not listed, and
// its answer "echo" for the question itself.
type Recorded struct {
	Ask      string        `yaml:"ask"`
	Through  string        `yaml:"through,omitempty"`  // tls, or nothing
	Received probe.Strings `yaml:"received,omitempty"` // in pieces, bytes escaped as in Go
	End      string        `yaml:"end,omitempty"`
}

const (
	askListen = "listen"
	askHello  = "ClientHello"   // our own, which only reads the certificate
	askTLS    = "TLS handshake" // what the server sent in a handshake that was not completed
	askSSL    = "SSLRequest"    // of PostgreSQL
	askAny    = "*"
	echoes    = "echo"
)

// Question names an ask in a recording: listen, GET /path, StartupMessage role, SSH identification, ClientHello, or the
// bytes, escaped.
func Question(a service.Ask) string {
	switch {
	case len(a.Send) == 0:
		return askListen
	case bytes.HasPrefix(a.Send, []byte("GET ")):
		path, _, _ := strings.Cut(string(a.Send[4:]), " ")
		return "GET " + path
	case bytes.HasPrefix(a.Send, []byte("SSH-")):
		return "SSH identification"
	case bytes.Equal(a.Send, service.ClientHello()):
		return askHello
	case len(a.Send) > 13 && a.Send[0] == 0:
		role, _, _ := strings.Cut(string(a.Send[13:]), "\x00")
		return "StartupMessage " + role
	}
	return Escape(a.Send)
}

// Escape writes bytes as a recording does.
func Escape(b []byte) string {
	q := strconv.QuoteToASCII(string(b))
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func unescape(s string) ([]byte, error) {
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		return nil, fmt.Errorf("the bytes %q: %w", s, err)
	}
	return []byte(out), nil
}

// LoadRecordings reads recordings/*.yaml under a directory of checks.
func LoadRecordings(dir fs.FS) ([]Recording, error) {
	names, err := fs.Glob(dir, "recordings/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	var out []Recording
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("read a recording: %w", err)
		}
		r := Recording{Name: strings.TrimSuffix(strings.TrimPrefix(name, "recordings/"), ".yaml")}
		if err := fault.DecodeYAML(name, data, &r); err != nil {
			return nil, err
		}
		if err := r.validate(name, data); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (r *Recording) validate(name string, data []byte) error {
	bad := func(path, format string, args ...any) error {
		return fault.New(fault.Config, format, args...).In(fault.Place(name, data, path))
	}
	if r.About == "" || r.Source == "" {
		return bad("$.about", "a recording says what it is about and where it is from")
	}
	if _, err := netip.ParseAddrPort(r.Endpoint); err != nil {
		return bad("$.endpoint", "the endpoint: %w", err)
	}
	if _, err := time.Parse(time.RFC3339, r.At); err != nil {
		return bad("$.at", "the time of judgement: %w", err)
	}
	for i, a := range r.Answers {
		for _, piece := range a.Received {
			if _, err := unescape(piece); err != nil {
				return bad(fmt.Sprintf("$.answers[%d].received", i), "%w", err)
			}
		}
	}
	return nil
}

// Reply answers a question as the recorded server did.
func (r *Recording) Reply(a service.Ask) service.Reply {
	if a.StartTLS != nil {
		if agreed := r.reply(askSSL, "", a.StartTLS); string(agreed.Bytes) != "S" {
			return agreed
		}
	}
	if !a.TLS {
		return r.reply(Question(a), "", a.Send)
	}
	if r.TLS == nil {
		failed := r.reply(askTLS, "", nil)
		return service.Reply{End: probe.EndClosed, Handshake: failed.Bytes}
	}
	reply := r.reply(Question(a), "tls", a.Send)
	reply.TLS = r.TLS.facts()
	return reply
}

// reply finds the answer to a question. One that is not listed gets that of "*", if it is a question of the check and not of the protocol.
func (r *Recording) reply(question, through string, sent []byte) service.Reply {
	i := slices.IndexFunc(r.Answers, func(x Recorded) bool { return x.Through == through && x.Ask == question })
	if i < 0 && !slices.Contains([]string{askListen, askTLS, askHello, askSSL}, question) {
		i = slices.IndexFunc(r.Answers, func(x Recorded) bool { return x.Through == through && x.Ask == askAny })
	}
	if i < 0 {
		return service.Reply{End: probe.EndTimeout}
	}
	reply := service.Reply{End: probe.EndDone}
	if r.Answers[i].End != "" {
		reply.End = r.Answers[i].End
	}
	if len(r.Answers[i].Received) == 1 && r.Answers[i].Received[0] == echoes {
		reply.Bytes = sent
		return reply
	}
	for _, piece := range r.Answers[i].Received {
		b, err := unescape(piece)
		if err == nil { // validate has seen it
			reply.Bytes = append(reply.Bytes, b...)
		}
	}
	return reply
}

func (t *RecordedTLS) facts() *probe.TLS {
	return &probe.TLS{Version: t.Version, NotBefore: micro(t.NotBefore), NotAfter: micro(t.NotAfter), Subject: untrusted.From(t.Subject)}
}

func micro(s string) int64 {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0
	}
	return t.UnixMicro()
}

// Observe has the conversation a probe would have, with the recording instead of a server.
func (r *Recording) Observe(checks []Check) probe.Observation {
	ap, err := netip.ParseAddrPort(r.Endpoint)
	if err != nil { // validate has seen it
		return probe.Observation{}
	}
	e := probe.Endpoint{Addr: ap.Addr(), Proto: probe.TCP, Port: ap.Port()}
	f := service.Converse(e, service.Self{Version: "test", Policy: "https://demarc.invalid/probing"}, Scripts(checks), r.Reply)
	f.Service.Flags = append(f.Service.Flags, r.Flags...)
	slices.Sort(f.Service.Flags)
	return probe.Observation{Vantage: "recording", Endpoint: e, Purpose: probe.Manual, Facts: f}
}

// Trial is one check held against one recording.
type Trial struct {
	Check     string                    `json:"check"`
	Recording string                    `json:"recording"`
	Want      Answer                    `json:"want"` // "" where anything but vulnerable will do
	Got       Answer                    `json:"got"`
	Applies   bool                      `json:"applies"`
	Evidence  map[string]untrusted.Text `json:"evidence,omitempty"`
}

// Passed tells whether the answer was the wanted one.
func (t Trial) Passed() bool {
	return t.Got == t.Want || t.Want == "" && t.Got != Vulnerable
}

// Replay holds every check against a recording. On a host that is judged as a whole, checks of endpoints give
// no verdict, and the other way round; such trials are left out unless the recording expects them.
func Replay(r *Recording, checks []Check) []Trial {
	got := map[string]Verdict{}
	for _, v := range HostVerdicts([]probe.Observation{r.Observe(checks)}, checks, micro(r.At)) {
		got[v.Check] = v.Verdict
	}
	var out []Trial
	for _, c := range checks {
		v, judged := got[c.ID]
		want := r.Expect[c.ID]
		if judged || want != "" {
			out = append(out, Trial{c.ID, r.Name, want, v.Answer, v.Applies, v.Evidence})
		}
	}
	return out
}

// Test replays all recordings, and says what is missing: each check needs one recording in which it is
// vulnerable, and one in which the same kind of service refuses it.
func Test(checks []Check, recordings []Recording) ([]Trial, error) {
	var trials []Trial
	var errs []error
	known := map[string]bool{}
	for _, c := range checks {
		known[c.ID] = true
	}
	positive, negative := map[string]bool{}, map[string]bool{}
	for i := range recordings {
		r := &recordings[i]
		for _, id := range slices.Sorted(maps.Keys(r.Expect)) {
			if !known[id] {
				errs = append(errs, fault.New(fault.NotFound, "recording %s names the check %s, which does not exist", r.Name, id))
			}
		}
		for _, t := range Replay(r, checks) {
			trials = append(trials, t)
			if !t.Passed() {
				errs = append(errs, fault.New(fault.Violation, "%s on %s: got %q, want %q", t.Check, t.Recording, t.Got, wanted(t)))
				continue
			}
			positive[t.Check] = positive[t.Check] || t.Want == Vulnerable
			negative[t.Check] = negative[t.Check] || t.Want == NotVulnerable && t.Applies
		}
	}
	for _, c := range checks {
		if !positive[c.ID] {
			errs = append(errs, fault.New(fault.Violation, "%s has no passing recording of a vulnerable server", c.ID))
		}
		if !negative[c.ID] && c.Locus != "host" {
			errs = append(errs, fault.New(fault.Violation, "%s has no passing recording of a hardened server of the same kind", c.ID))
		}
	}
	return trials, errors.Join(errs...)
}

func wanted(t Trial) string {
	if t.Want == "" {
		return "anything but vulnerable"
	}
	return string(t.Want)
}
