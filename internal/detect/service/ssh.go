package service

import (
	"bytes"
	"regexp"
	"strings"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// A Debian revision names the release it was built for: +deb12u3, ~deb11u1. A backport (~bpo12) names the
// release it runs on, but not its support, so it is left out.
var debianRelease = regexp.MustCompile(`[+~]deb([0-9]{1,2})u[0-9]+`)

// ssh reads the identification string. Lines before it are allowed. Source: RFC 4253 §4.2.
func ssh(b []byte) *probe.Service {
	line, ok := sshLine(b)
	if !ok {
		return nil
	}
	protocol, rest, ok := strings.Cut(strings.TrimPrefix(string(line), "SSH-"), "-")
	if !ok || !isVersion(protocol) {
		return nil
	}
	software, comment, _ := strings.Cut(rest, " ")
	s := &probe.Service{Name: SSH, Banner: untrusted.Bytes(line).Cap(bannerMax), Facts: map[string]untrusted.Text{"protocol": word(protocol)}}
	product, version := splitProduct(software, "_")
	s.Product, s.Version = word(product), word(version)
	if comment != "" {
		s.Facts["comment"] = word(comment)
	}
	if m := debianRelease.FindStringSubmatch(comment); m != nil {
		s.Facts["release"] = word("debian " + m[1])
	}
	return s
}

// sshLine finds the identification string among the first 16 lines.
func sshLine(b []byte) ([]byte, bool) {
	for range 16 {
		if line := firstLine(b); bytes.HasPrefix(line, []byte("SSH-")) {
			return line, true
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 || bytes.HasPrefix(b, []byte("HTTP/")) {
			break
		}
		b = b[i+1:]
	}
	return nil, false
}

func isVersion(s string) bool {
	major, minor, ok := strings.Cut(s, ".")
	return ok && digits(major) && digits(minor)
}

func digits(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}
