package scan

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
	"time"

	"demarc/internal/detect/service"
	"demarc/internal/probe"
)

// call opens a connection, after the host's and the vantage's budgets allow it, and goes into TLS if asked; nil where the question can be
// put now.
func (c *conversation) call(ctx context.Context, a service.Ask) *service.Reply {
	if c.conns <= 0 {
		return &service.Reply{End: probe.EndBudget}
	}
	c.conns--
	if c.host.rate.Wait(ctx) != nil || c.rate.Wait(ctx) != nil {
		return &service.Reply{End: probe.EndTimeout}
	}
	began := time.Now()
	defer func() { c.left -= time.Since(began) }()
	c.sent.Add(1)
	conn, err := c.dial.connect(ctx, netip.AddrPortFrom(c.look.endpoint.Addr, c.look.endpoint.Port), min(c.ConnectTimeout, c.left))
	if err != nil {
		if end := endOf(err); end == probe.EndReset {
			return &service.Reply{End: end}
		}
		return &service.Reply{End: probe.EndRefused}
	}
	c.raw = &counted{Conn: conn, left: &c.bytes}
	c.conn = c.raw
	if !a.TLS {
		return nil
	}
	stop := context.AfterFunc(ctx, c.cut(c.raw))
	defer stop()
	_ = c.raw.SetDeadline(time.Now().Add(min(c.StepTime, c.left)))
	if a.StartTLS != nil {
		if r := c.agree(a.StartTLS); r != nil {
			return r
		}
	}
	return c.handshake(ctx)
}

// agree asks the peer to begin TLS; nil where it agrees with an S. Exactly one byte is read: what a peer sends after it belongs to TLS.
func (c *conversation) agree(request []byte) *service.Reply {
	_, err := c.raw.Write(request)
	answer := make([]byte, 1)
	if err == nil {
		_, err = c.raw.Read(answer)
	}
	switch {
	case err != nil:
		c.hangUp()
		return &service.Reply{End: endOf(err)}
	case answer[0] == 'S':
		return nil
	case answer[0] == 'E': // an error instead: the server refuses before TLS
		rest, _ := c.read(service.Ask{Most: service.HandshakeMax}, time.Now().Add(min(c.StepTime, c.left)))
		answer = append(answer, rest...)
	}
	c.look.received = c.Clock()
	c.hangUp()
	return &service.Reply{Bytes: answer, End: probe.EndDone}
}

// handshake goes into TLS. Where that fails, what the peer sent is handed on: that it speaks TLS, and mostly its certificate, can be read
// from it.
func (c *conversation) handshake(ctx context.Context) *service.Reply {
	var taken []byte
	var keys bytes.Buffer // of this session alone, in which nothing but the certificate is read, and only if it fails
	c.raw.taken = &taken
	conf := lookTLS()
	conf.KeyLogWriter = &keys
	t := tls.Client(c.raw, conf)
	err := t.HandshakeContext(ctx)
	c.raw.taken = nil
	if err != nil {
		c.hangUp()
		if len(taken) > 0 {
			c.look.received = c.Clock()
		}
		return &service.Reply{End: endOf(err), Handshake: taken, Secret: service.HandshakeSecret(keys.Bytes())}
	}
	c.conn, c.tls = t, certificate(t.ConnectionState())
	return nil
}

var versions = map[uint16]string{tls.VersionTLS10: "1.0", tls.VersionTLS11: "1.1", tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}

// certificate notes what a handshake showed.
func certificate(s tls.ConnectionState) *probe.TLS {
	t := &probe.TLS{}
	if len(s.PeerCertificates) > 0 {
		if leaf := service.ReadCertificate(s.PeerCertificates[0].Raw); leaf != nil {
			t = leaf
		}
	}
	t.Version = versions[s.Version]
	return t
}
