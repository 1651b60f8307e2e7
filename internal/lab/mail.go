package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Message is a mail as it arrived, once per delivery: a duplicate is there twice.
type Message struct {
	Time      time.Time
	From      string // envelope
	To        string // envelope, one recipient
	MessageID string // header, with its angle brackets
	Header    mail.Header
	Body      string
	Raw       string
}

// MailFaults is how the mailbox misbehaves; each count goes down as it is used.
type MailFaults struct {
	RcptTemporary int // answer 451 to RCPT
	DataTemporary int // answer 451 after DATA; the message is not kept
	CutAfterData  int // keep the message, end the connection before the answer
	RcptPermanent map[string]bool
	FromPermanent bool // answer 550 to MAIL
}

// Mailbox is a real SMTP server that keeps what it receives.
type Mailbox struct {
	addr string

	mu       sync.Mutex // guards all below
	server   *smtp.Server
	ln       net.Listener
	running  sync.WaitGroup
	messages []Message
	faults   MailFaults
	heard    func(Message)
}

// NewMailbox listens on an address.
func NewMailbox(addr string) (*Mailbox, error) {
	m := &Mailbox{addr: addr}
	return m, m.Up()
}

// Addr is host:port of the server; it stays the same over Down and Up.
func (m *Mailbox) Addr() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addr
}

// Up listens, again if it was down.
func (m *Mailbox) Up() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server != nil {
		return nil
	}
	ln, err := net.Listen("tcp", m.addr)
	if err != nil {
		return err
	}
	m.addr = ln.Addr().String()
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &mailSession{box: m, conn: c}, nil }))
	s.Domain, s.MaxMessageBytes, s.MaxRecipients, s.ErrorLog = "mail.lab.example", 4<<20, 50, quiet()
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	m.server, m.ln = s, ln
	m.running.Go(func() { _ = s.Serve(&countedListener{ln, &m.running}) })
	return nil
}

// Down closes the listener and every connection, and waits for them to end.
func (m *Mailbox) Down() {
	m.mu.Lock()
	s, ln := m.server, m.ln
	m.server = nil
	m.mu.Unlock()
	if s != nil {
		_ = s.Close()
		_ = ln.Close() // the server may not know it yet
	}
	m.running.Wait()
}

// Close is Down, for good.
func (m *Mailbox) Close() { m.Down() }

// Fault sets how the mailbox misbehaves from now on.
func (m *Mailbox) Fault(f MailFaults) {
	m.mu.Lock()
	m.faults = f
	m.mu.Unlock()
}

// OnMessage has f called after each message that is kept.
func (m *Mailbox) OnMessage(f func(Message)) {
	m.mu.Lock()
	m.heard = f
	m.mu.Unlock()
}

// Messages lists what arrived, in order.
func (m *Mailbox) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// For lists what arrived for one recipient; the case of letters does not count.
func (m *Mailbox) For(recipient string) []Message {
	return slices.DeleteFunc(m.Messages(), func(msg Message) bool { return !strings.EqualFold(msg.To, recipient) })
}

type mailSession struct {
	box  *Mailbox
	conn *smtp.Conn
	from string
	to   []string
}

var (
	errLater = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Please try again later"}
	errNever = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user here"}
)

// take uses up one of a count.
func (m *Mailbox) take(n *int) bool {
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

func (s *mailSession) Reset()        { s.from, s.to = "", nil }
func (s *mailSession) Logout() error { return nil }

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.box.faults.FromPermanent {
		return errNever
	}
	s.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.box.take(&s.box.faults.RcptTemporary) {
		return errLater
	}
	if s.box.faults.RcptPermanent[strings.ToLower(to)] {
		return errNever
	}
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	if s.box.take(&s.box.faults.DataTemporary) {
		s.box.mu.Unlock()
		return errLater
	}
	kept := s.keep(raw)
	cut, heard := s.box.take(&s.box.faults.CutAfterData), s.box.heard
	s.box.mu.Unlock()
	for _, m := range kept {
		if heard != nil {
			heard(m)
		}
	}
	if cut {
		_ = s.conn.Conn().Close()
		return errors.New("cut")
	}
	return nil
}

// keep stores a message for each recipient. The caller holds the lock.
func (s *mailSession) keep(raw []byte) []Message {
	msg := Message{Time: time.Now(), From: s.from, Raw: string(raw)}
	if parsed, err := mail.ReadMessage(bytes.NewReader(raw)); err == nil {
		body, _ := io.ReadAll(parsed.Body)
		msg.Header, msg.MessageID, msg.Body = parsed.Header, parsed.Header.Get("Message-Id"), string(body)
	}
	var out []Message
	for _, to := range s.to {
		msg.To = to
		out = append(out, msg)
	}
	s.box.messages = append(s.box.messages, out...)
	return out
}

// countedListener counts its connections as running until they are closed.
type countedListener struct {
	net.Listener
	running *sync.WaitGroup
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.running.Add(1)
	return &countedConn{Conn: c, done: sync.OnceFunc(l.running.Done)}, nil
}

type countedConn struct {
	net.Conn
	done func()
}

func (c *countedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}
