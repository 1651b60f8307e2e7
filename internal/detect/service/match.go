package service

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"demarc/internal/probe"
)

// patterns holds compiled expressions: checks are few and judged often.
var patterns sync.Map

// Pattern compiles a regular expression once. One that does not compile matches nothing; loading a check
// refuses it before it gets here.
func Pattern(expr string) *regexp.Regexp {
	if v, ok := patterns.Load(expr); ok {
		return v.(*regexp.Regexp)
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		re = never
	}
	patterns.Store(expr, re)
	return re
}

var never = regexp.MustCompile(`a\A`)

// Holds tells whether a match is so, for an answer, what was recognised (nil: nothing), and the time in µs.
func Holds(m probe.Match, answer string, s *probe.Service, at int64) bool {
	return holdsBytes(m, answer) && holdsHTTP(m, answer) && holdsFacts(m, s, at) &&
		(len(m.PG) == 0 || m.PG.Has(postgresAnswer([]byte(answer))))
}

func holdsBytes(m probe.Match, answer string) bool {
	return anyOf(m.Prefix, func(v string) bool { return strings.HasPrefix(answer, v) }) &&
		anyOf(m.Contains, func(v string) bool { return strings.Contains(answer, v) }) &&
		anyOf(m.Equals, func(v string) bool { return answer == v }) &&
		(m.Regex == "" || Pattern(m.Regex).MatchString(answer))
}

func holdsHTTP(m probe.Match, answer string) bool {
	if len(m.Status) == 0 && len(m.StatusNot) == 0 && len(m.Header) == 0 && len(m.Body) == 0 && m.BodyRegex == "" {
		return true
	}
	h, ok := ParseHTTP([]byte(answer))
	if !ok || len(m.Status) > 0 && !slices.Contains(m.Status, h.Status) || slices.Contains(m.StatusNot, h.Status) {
		return false
	}
	for name, part := range m.Header {
		if !strings.Contains(strings.ToLower(h.Get(strings.ToLower(name))), strings.ToLower(part)) {
			return false
		}
	}
	return anyOf(m.Body, func(v string) bool { return strings.Contains(string(h.Body), v) }) &&
		(m.BodyRegex == "" || Pattern(m.BodyRegex).Match(h.Body))
}

func holdsFacts(m probe.Match, s *probe.Service, at int64) bool {
	if s == nil {
		return len(m.Service)+len(m.Fact)+len(m.FactRegex)+len(m.Flag) == 0 && m.TLSExpired == nil && m.TLSFuture == nil
	}
	for name, accepted := range m.Fact {
		if !accepted.Has(Fact(s, name)) {
			return false
		}
	}
	for name, expr := range m.FactRegex {
		if !Pattern(expr).MatchString(Fact(s, name)) {
			return false
		}
	}
	if !holdsValidity(m, s.TLS, at) {
		return false
	}
	return anyOf(m.Service, func(v string) bool { return s.Name == v }) &&
		anyOf(m.Flag, func(v string) bool { return slices.Contains(s.Flags, v) }) &&
		!slices.ContainsFunc(m.FlagNot, func(v string) bool { return slices.Contains(s.Flags, v) })
}

// holdsValidity looks at both ends of a certificate's time, each of which it includes. Source: RFC 5280 section 4.1.2.5.
func holdsValidity(m probe.Match, t *probe.TLS, at int64) bool {
	if m.TLSExpired == nil && m.TLSFuture == nil {
		return true
	}
	if t == nil {
		return false
	}
	expired := t.NotAfter != 0 && t.NotAfter < at
	future := t.NotBefore != 0 && at < t.NotBefore
	current := t.NotBefore != 0 && t.NotAfter != 0 && !expired && !future
	switch {
	case m.TLSFuture != nil && (*m.TLSFuture && !future || !*m.TLSFuture && !current && !expired):
		return false
	case m.TLSExpired == nil:
		return true
	case *m.TLSExpired:
		return expired
	default:
		return current
	}
}

// anyOf holds for a list left out, and where one of its values will do.
func anyOf(list probe.Strings, is func(string) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, is)
}

// Fact gives a fact of a service by name, those with fields of their own included; "" where there is none.
func Fact(s *probe.Service, name string) string {
	switch name {
	case "product":
		return s.Product.Raw()
	case "version":
		return s.Version.Raw()
	case "banner":
		return s.Banner.Raw()
	case "tls_version":
		if s.TLS != nil {
			return s.TLS.Version
		}
	case "subject":
		if s.TLS != nil {
			return s.TLS.Subject.Raw()
		}
	}
	return s.Facts[name].Raw()
}
