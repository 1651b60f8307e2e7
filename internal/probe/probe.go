// Package probe says what to ask of an address and what it answered.
//
// An Observation is a fact: what was sent, what came back, when. Whether it means a weakness is
// judged elsewhere, later, and as often as wanted, with no further packet.
package probe

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"

	"demarc/internal/untrusted"
)

// Proto is a transport protocol.
type Proto string

const (
	TCP  Proto = "tcp"
	UDP  Proto = "udp"
	ICMP Proto = "icmp"
)

// Zone is where a vantage point stands: who sees what it sees.
type Zone string

const (
	Internet    Zone = "internet"
	Institution Zone = "institution"
)

// Vantage is a place that probes are sent from, with its published source addresses.
type Vantage struct {
	Name    string       `json:"name"`
	Zone    Zone         `json:"zone"`
	Sources []netip.Addr `json:"sources"`
}

// Endpoint is one transport address.
type Endpoint struct {
	Addr  netip.Addr `json:"addr"`
	Proto Proto      `json:"proto"`
	Port  uint16     `json:"port"`
}

func (e Endpoint) String() string {
	if !e.Addr.IsValid() {
		return ""
	}
	return netip.AddrPortFrom(e.Addr, e.Port).String() + "/" + string(e.Proto)
}

// Compare orders endpoints by address, protocol and port.
func (e Endpoint) Compare(o Endpoint) int {
	return cmp.Or(e.Addr.Compare(o.Addr), cmp.Compare(e.Proto, o.Proto), cmp.Compare(e.Port, o.Port))
}

// Purpose is why a probe is sent.
type Purpose string

const (
	Reach   Purpose = "reach"   // the cloud's own rules let it through
	Control Purpose = "control" // the rules deny it: proof that the filter works
	Recheck Purpose = "recheck" // a case asks
	Opened  Purpose = "opened"  // it has just been opened
	Manual  Purpose = "manual"  // an operator asks by hand
)

// Shard is one piece of probing work: targets to ask from one vantage point.
type Shard struct {
	ID      string     `json:"id"`
	Vantage string     `json:"vantage"`
	Purpose Purpose    `json:"purpose"`
	Targets []Endpoint `json:"targets"`
}

// Outcome is what an endpoint did. Only Open and Closed are answers; the others say nothing about the
// service and never count as a fix.
type Outcome string

const (
	Open     Outcome = "open"     // accepted, or reset after it accepted
	Closed   Outcome = "closed"   // refused: RST to our SYN, or ICMP port unreachable
	Filtered Outcome = "filtered" // silence on this port, or ICMP admin prohibited
	Silent   Outcome = "silent"   // silence, and no other port of the host answered in this run
	Failed   Outcome = "failed"   // our own trouble: no route, no descriptor, deadline of the shard
)

// Answered tells whether the peer spoke.
func (o Outcome) Answered() bool { return o == Open || o == Closed }

// The ends an exchange can come to.
const (
	EndDone    = "done"    // every step was carried out
	EndClosed  = "closed"  // the peer closed
	EndReset   = "reset"   // the peer reset
	EndTimeout = "timeout" // the step's or the endpoint's time was over
	EndBudget  = "budget"  // the endpoint's bytes or connections were spent
	EndRefused = "refused" // a further connection was refused or got no answer
)

// Turn is one step of a conversation. What was sent is ours; what was received is not. Received may be an excerpt. Whole is true if the
// answer came to the end that its protocol gives it, or to the limit up to which any answer is read, and no coding of it was left undone.
type Turn struct {
	Sent     string         `json:"sent,omitempty"`
	Received untrusted.Text `json:"received,omitzero"`
	Whole    bool           `json:"whole,omitempty"`
}

// Exchange is the transcript of one check's own questions to an endpoint.
type Exchange struct {
	Check    string `json:"check"`
	Revision int    `json:"revision"`
	Turns    []Turn `json:"turns"`
	Control  *Turn  `json:"control,omitempty"` // the answer to the script's control, where it was asked
	End      string `json:"end"`
}

// TLS is what a handshake showed. Times are µs; 0 where the certificate was not sent in a form that could be read.
type TLS struct {
	Version   string         `json:"version"` // "1.0" … "1.3", "ssl3", or "" where the server named none
	NotBefore int64          `json:"not_before,omitempty"`
	NotAfter  int64          `json:"not_after,omitempty"`
	Subject   untrusted.Text `json:"subject,omitzero"`
	Issuer    untrusted.Text `json:"issuer,omitzero"`
	KeyHash   string         `json:"key_hash,omitempty"` // SHA-256 of the public key, hex
}

// The flags an endpoint can carry.
const (
	FlagTarpit        = "tarpit"        // accepts on ports where nothing can listen
	FlagEcho          = "echo"          // sends back what it gets
	FlagContradiction = "contradiction" // speaks two unrelated protocols
	FlagFlood         = "flood"         // sent more than the byte budget
	FlagTLSFailed     = "tls-failed"    // speaks TLS, but no handshake was completed: what it serves is not known
)

// Service is what was recognised behind an open endpoint.
type Service struct {
	Name    string                    `json:"name"`             // ssh, http, redis, postgresql, telnet, or unknown
	Product untrusted.Text            `json:"product,omitzero"` // OpenSSH, nginx, …
	Version untrusted.Text            `json:"version,omitzero"` // as stated by the peer
	Banner  untrusted.Text            `json:"banner,omitzero"`  // first bytes, capped
	TLS     *TLS                      `json:"tls,omitempty"`    // when spoken through TLS; with FlagTLSFailed, as far as the handshake came
	Facts   map[string]untrusted.Text `json:"facts,omitempty"`  // further facts by name, each capped at 200 bytes
	Flags   []string                  `json:"flags,omitempty"`  // sorted
}

// Unknown is the name of a service that was not recognised.
const Unknown = "unknown"

// Facts are what an endpoint showed, without when. They are content-addressed, so an unchanged endpoint
// costs no row.
type Facts struct {
	Outcome   Outcome    `json:"outcome"`
	Service   *Service   `json:"service,omitempty"`
	Exchanges []Exchange `json:"exchanges,omitempty"`
}

// Hash names the facts: SHA-256 of their canonical JSON, hex.
func (f Facts) Hash() string {
	b, err := json.Marshal(f)
	if err != nil { // every field marshals
		panic(fmt.Sprintf("facts: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Observation is one look at one endpoint. Times are µs: SentAt and ReceivedAt on the policy clock,
// RealAt on the real one (they differ only where policy time is compressed).
type Observation struct {
	Vantage    string   `json:"vantage"`
	Endpoint   Endpoint `json:"endpoint"`
	Purpose    Purpose  `json:"purpose"`
	SentAt     int64    `json:"sent_at"`
	ReceivedAt int64    `json:"received_at"`
	RealAt     int64    `json:"real_at,omitempty"`
	Facts      Facts    `json:"facts"`
	Trouble    string   `json:"trouble,omitempty"` // why Outcome is Failed
}
