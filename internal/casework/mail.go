package casework

import "demarc/internal/policy"

// MailStatus is where a mail stands.
type MailStatus string

const (
	Waiting MailStatus = "pending"
	Taken   MailStatus = "accepted" // 250 after DATA by the next hop
	Bounced MailStatus = "failed"   // refused for good
)

// Mail is one message of a case to one recipient: a row of the outbox before it is bytes on a wire. The words are made
// when it is sent, because the deadline it states counts from then.
type Mail struct {
	ID         string     `json:"id"`
	Case       string     `json:"case"`
	Step       Step       `json:"step"`
	To         Audience   `json:"to"`
	Recipient  string     `json:"recipient"`
	MessageID  string     `json:"message_id"`       // without angle brackets
	Thread     string     `json:"thread,omitempty"` // Message-ID of the case's first mail to this recipient, when this is not it
	QueuedAt   int64      `json:"queued_at"`
	Status     MailStatus `json:"status"`
	Attempts   int        `json:"attempts"`
	NextAt     int64      `json:"next_at"`
	AcceptedAt int64      `json:"accepted_at,omitempty"`
	Deadline   int64      `json:"deadline,omitempty"`
	End        policy.End `json:"end,omitempty"` // the strongest action that the text announces; see Announces
	Subject    string     `json:"subject,omitempty"`
	Body       string     `json:"body,omitempty"` // of a part of a digest: that part
	LastError  string     `json:"last_error,omitempty"`
	Slot       int64      `json:"slot,omitempty"`   // when the digest is due that it is a part of; 0: it is sent alone
	Digest     string     `json:"digest,omitempty"` // Message-ID of the digest that it was last sent in, without angle brackets
	Cases      []string   `json:"-"`                // of the message that is handed to the next hop: the cases of a digest
	Announced             // what it said would happen, as written
}
