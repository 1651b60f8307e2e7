package probe

import "slices"

// MaxSteps is how many questions one script may ask.
const MaxSteps = 6

// Script is what one check asks of an endpoint, in a closed vocabulary of literal bytes: whoever carries it
// out needs to know nothing of the check. A script without steps asks nothing.
type Script struct {
	Check    string  `json:"check"`
	Revision int     `json:"revision"`
	Services Strings `json:"services"` // names of the recognised services it applies to
	Steps    []Step  `json:"steps"`
	Control  *Step   `json:"control,omitempty"` // asked after an answer that does not lead on; a server that refuses everything refuses it too
}

// AppliesTo tells whether the script is meant for a service of this name.
func (s Script) AppliesTo(service string) bool { return s.Services.Has(service) }

// Step is one question and the answer that leads on to the next step. Exactly one verb is given. Text is
// ASCII, control characters included, so that what is written is what is sent.
type Step struct {
	Send      string  `json:"send,omitempty" yaml:"send"`             // these bytes
	HTTPGet   string  `json:"http_get,omitempty" yaml:"http_get"`     // GET of this path
	PGStartup string  `json:"pg_startup,omitempty" yaml:"pg_startup"` // PostgreSQL StartupMessage for this role, which must not exist
	PGTLS     string  `json:"pg_tls,omitempty" yaml:"pg_tls"`         // the same through TLS; "N" where there is none
	Fresh     bool    `json:"fresh,omitempty" yaml:"fresh"`           // on a new connection
	Expect    *Match  `json:"expect,omitempty" yaml:"expect"`         // without it, any answer leads on
	Keep      Strings `json:"keep,omitempty" yaml:"keep"`             // RE2: only the part that the first of them to match finds is recorded
}

// Verbs lists the verbs that the step gives.
func (s Step) Verbs() []string {
	var out []string
	if s.Send != "" {
		out = append(out, "send")
	}
	if s.HTTPGet != "" {
		out = append(out, "http_get")
	}
	if s.PGStartup != "" {
		out = append(out, "pg_startup")
	}
	if s.PGTLS != "" {
		out = append(out, "pg_tls")
	}
	return out
}

// Match says what must be so. Every member given must hold; within a list, any one will do. Members up to
// PG look at an answer, the others at what was recognised.
type Match struct {
	Prefix     Strings            `json:"prefix,omitempty" yaml:"prefix"`
	Contains   Strings            `json:"contains,omitempty" yaml:"contains"`
	Equals     Strings            `json:"equals,omitempty" yaml:"equals"`
	Regex      string             `json:"regex,omitempty" yaml:"regex"` // RE2
	Status     Numbers            `json:"status,omitempty" yaml:"status"`
	StatusNot  Numbers            `json:"status_not,omitempty" yaml:"status_not"`
	Header     map[string]string  `json:"header,omitempty" yaml:"header"` // name: part of the value
	Body       Strings            `json:"body,omitempty" yaml:"body"`
	BodyRegex  string             `json:"body_regex,omitempty" yaml:"body_regex"` // RE2
	PG         Strings            `json:"pg,omitempty" yaml:"pg"`                 // of PGAnswers
	Service    Strings            `json:"service,omitempty" yaml:"service"`
	Fact       map[string]Strings `json:"fact,omitempty" yaml:"fact"` // name: accepted values
	FactRegex  map[string]string  `json:"fact_regex,omitempty" yaml:"fact_regex"`
	Flag       Strings            `json:"flag,omitempty" yaml:"flag"`
	FlagNot    Strings            `json:"flag_not,omitempty" yaml:"flag_not"`
	TLSExpired *bool              `json:"tls_expired,omitempty" yaml:"tls_expired"` // false: it has begun and is not over
	TLSFuture  *bool              `json:"tls_future,omitempty" yaml:"tls_future"`   // the certificate's time has not begun
}

// What PostgreSQL can answer to a StartupMessage or an SSLRequest.
const (
	PGAdmitted = "admitted" // AuthenticationOk: no proof of identity was asked for
	PGRefused  = "refused"  // an authentication request, or an error of ClientAuthentication with SQLSTATE 28000
	PGNoTLS    = "no-tls"   // the server offers no TLS on this port
)

// PGAnswers lists them.
func PGAnswers() []string { return []string{PGAdmitted, PGRefused, PGNoTLS} }

// Patterns lists the regular expressions of the match.
func (m Match) Patterns() []string {
	var out []string
	for _, p := range []string{m.Regex, m.BodyRegex} {
		if p != "" {
			out = append(out, p)
		}
	}
	for _, p := range m.FactRegex {
		out = append(out, p)
	}
	return out
}

// Strings is a list that may be written as one value.
type Strings []string

// Has tells whether the list names s.
func (l Strings) Has(s string) bool {
	for _, v := range l {
		if v == s {
			return true
		}
	}
	return false
}

// UnmarshalYAML reads one value or a list.
func (l *Strings) UnmarshalYAML(read func(any) error) error {
	var one string
	if read(&one) == nil {
		*l = Strings{one}
		return nil
	}
	var many []string
	if err := read(&many); err != nil {
		return err
	}
	*l = many
	return nil
}

// Numbers is a list that may be written as one value.
type Numbers []int

// Has tells whether the list names n.
func (l Numbers) Has(n int) bool { return slices.Contains(l, n) }

// UnmarshalYAML reads one value or a list.
func (l *Numbers) UnmarshalYAML(read func(any) error) error {
	var one int
	if read(&one) == nil {
		*l = Numbers{one}
		return nil
	}
	var many []int
	if err := read(&many); err != nil {
		return err
	}
	*l = many
	return nil
}

// The kinds of coverage: of a reading of a cloud, or of the probes of a vantage point.
const (
	KindInventory = "inventory" // the whole cloud
	KindRecent    = "recent"    // a reading of what changes often, and of nothing else
	KindSweep     = "sweep"     // probes, whatever their purpose
)

// Coverage says how far one shard was carried out. Only a complete one lets absence mean anything.
type Coverage struct {
	Shard    string  `json:"shard"`
	Cloud    string  `json:"cloud,omitempty"`
	Vantage  string  `json:"vantage"`
	Purpose  Purpose `json:"purpose"`
	Cycle    int64   `json:"cycle,omitempty"`   // which round of the sweep it belongs to
	RealAt   int64   `json:"real_at,omitempty"` // µs on the real clock, when it ended
	Began    int64   `json:"began"`             // µs
	Ended    int64   `json:"ended"`
	Took     int64   `json:"took,omitempty"` // µs that were spent on a whole reading of a cloud: less than from Began to Ended where it was cut and went on; 0: as much
	Sent     int     `json:"sent"`           // connection attempts, repeats and canaries included
	Answered int     `json:"answered"`       // endpoints that were open or closed
	Open     int     `json:"open"`
	Note     string  `json:"note,omitempty"` // what was not done, and why
	Complete bool    `json:"complete"`       // every target was asked, and none failed for a reason of ours
}
