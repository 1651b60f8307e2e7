package service

import (
	"bytes"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// run carries out a script and records it, up to the first answer that does not lead on. After that answer the control is asked.
func (t *talk) run(s probe.Script) probe.Exchange {
	x := probe.Exchange{Check: s.Check, Revision: s.Revision, End: probe.EndDone}
	for i, step := range s.Steps[:min(len(s.Steps), probe.MaxSteps)] {
		turn, end := t.turn(step, i == 0)
		if turn == nil {
			x.End = end
			return x
		}
		x.Turns = append(x.Turns, *turn)
		if step.Expect != nil && !Holds(*step.Expect, turn.Received.Raw(), t.service, 0) {
			if s.Control != nil {
				x.Control, _ = t.turn(*s.Control, true)
			}
			return x
		}
	}
	return x
}

// turn asks one question; nil where no answer came, or only the beginning of one.
func (t *talk) turn(step probe.Step, first bool) (*probe.Turn, string) {
	a, sent := t.put(step)
	a.Fresh = a.Fresh || step.Fresh || first && !a.HTTP
	a.TLS = a.TLS || t.tls != nil
	r := t.hear(a)
	if len(r.Bytes) == 0 || a.HTTP && !begun(r.Bytes) {
		return nil, r.End
	}
	kept, complete := record(step, r.Bytes)
	return &probe.Turn{Sent: sent, Received: kept, Whole: complete && whole(a, r)}, r.End
}

// put makes the bytes of a step, and what the transcript says was sent.
func (t *talk) put(s probe.Step) (a Ask, sent string) {
	switch {
	case s.HTTPGet != "":
		return Ask{HTTP: true, Most: pageMax, Send: t.request(s.HTTPGet, t.tls != nil)}, "GET " + s.HTTPGet
	case s.PGStartup != "":
		return Ask{Fresh: true, Send: StartupMessage(s.PGStartup)}, "StartupMessage " + s.PGStartup
	case s.PGTLS != "":
		return Ask{Fresh: true, TLS: true, StartTLS: sslRequest, Send: StartupMessage(s.PGTLS)}, "SSLRequest, StartupMessage " + s.PGTLS
	default:
		return Ask{Send: []byte(s.Send)}, s.Send
	}
}

// begun tells whether an answer is more than the beginning of an HTTP message.
func begun(b []byte) bool {
	m, ok := parseFrame(b)
	return !ok || m.begun
}

// whole tells whether an answer came to the end that its protocol gives it: an HTTP message its own, one of PostgreSQL its first message,
// anything else a line.
func whole(a Ask, r Reply) bool {
	if a.HTTP {
		m, ok := ParseHTTP(r.Bytes)
		return ok && m.Read(r.End, len(r.Bytes))
	}
	if len(a.Send) > 4 && a.Send[0] == 0 {
		return a.StartTLS != nil && string(r.Bytes) == "N" || postgresWhole(r.Bytes)
	}
	return bytes.HasSuffix(r.Bytes, []byte("\n"))
}

// record gives what is kept of an answer: what the step asks to keep, or its first line where that is not in it, or all of it, without what
// changes each time, at most turnMax bytes. Complete is false where that limit cut off what the step did not ask to leave out.
func record(s probe.Step, b []byte) (kept untrusted.Text, complete bool) {
	b = steady(b)
	if len(s.Keep) > 0 {
		b = excerpt(s.Keep, b[:min(len(b), answerMax)])
	}
	return untrusted.Bytes(b).Cap(turnMax), len(b) <= turnMax
}

func excerpt(keep probe.Strings, b []byte) []byte {
	for _, expr := range keep {
		if found := Pattern(expr).Find(b); found != nil {
			return found
		}
	}
	return firstLine(b)
}
