// Package service recognises which protocol speaks at an endpoint.
//
// Classifiers are pure functions over bytes. Every answer to any question runs through all of them: a
// Redis server says so in its answer to an HTTP request, which is how odd ports are found cheaply.
package service

import (
	"bytes"
	"slices"
	"strings"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// The names of the services.
const (
	SSH        = "ssh"
	HTTP       = "http"
	Redis      = "redis"
	PostgreSQL = "postgresql"
	Telnet     = "telnet"
)

// Names lists every service that can be recognised, probe.Unknown included.
func Names() []string { return []string{HTTP, PostgreSQL, Redis, SSH, Telnet, probe.Unknown} }

const (
	factMax   = 200 // bytes of one fact
	bannerMax = 512 // bytes of a banner
	lineMax   = 1024
)

// classifiers in the order in which one is believed where several agree to the same bytes.
var classifiers = []func([]byte) *probe.Service{ssh, http, redis, postgres, telnet}

// Classify tells what speaks in an answer, and whether it claims to be two unrelated things at once.
func Classify(b []byte) (s *probe.Service, contradiction bool) {
	for _, c := range classifiers {
		if s = c(b); s != nil {
			break
		}
	}
	return s, len(claims(b)) > 1
}

// claims lists the protocols whose mark starts a line of the answer, an HTTP body left out: a web page may
// quote what it likes.
func claims(b []byte) []string {
	var out []string
	claim := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for n := 0; len(b) > 0 && n < 64; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		switch {
		case bytes.HasPrefix(line, []byte("SSH-2.0-")), bytes.HasPrefix(line, []byte("SSH-1.")):
			claim(SSH)
		case bytes.HasPrefix(line, []byte("HTTP/1.")):
			claim(HTTP)
		case redisMark(line):
			claim(Redis)
		case n == 0 && startsTelnet(line):
			claim(Telnet)
		case len(line) == 0 && slices.Contains(out, HTTP):
			return out
		}
		b = rest
	}
	return out
}

// text makes a fact of what a peer sent.
func text(b []byte) untrusted.Text { return untrusted.Bytes(b).Cap(factMax) }

func word(s string) untrusted.Text { return untrusted.From(s).Cap(factMax) }

// firstLine gives the first line without its end, at most lineMax bytes.
func firstLine(b []byte) []byte {
	b = b[:min(len(b), lineMax)]
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return bytes.TrimRight(b, "\r")
}

// splitProduct takes "nginx/1.22.1 (Debian)" apart into name and version.
func splitProduct(s string, sep string) (product, version string) {
	s, _, _ = strings.Cut(s, " ")
	product, version, _ = strings.Cut(s, sep)
	return product, version
}
