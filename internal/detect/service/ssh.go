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

// Until 2013 the revision of a fix named the release by its code name: +squeeze5, 9etch3, 8.sarge.6.
var debianName = regexp.MustCompile(`[0-9.+~](sarge|etch|lenny|squeeze|wheezy)`)

var debianNumber = map[string]string{"sarge": "3", "etch": "4", "lenny": "5", "squeeze": "6", "wheezy": "7"}

// ssh reads the identification string. Lines before it are allowed. What it states counts only if the line came to its end.
// Source: RFC 4253 §4.2.
func ssh(b []byte) *probe.Service {
	line, whole, ok := sshLine(b)
	if !ok {
		return nil
	}
	protocol, rest, ok := strings.Cut(strings.TrimPrefix(string(line), "SSH-"), "-")
	if !ok || !isVersion(protocol) {
		return nil
	}
	software, comment, _ := strings.Cut(rest, " ")
	s := &probe.Service{Name: SSH, Banner: untrusted.Bytes(line).Cap(bannerMax), Facts: map[string]untrusted.Text{}}
	if !whole {
		return s
	}
	s.Facts["protocol"] = word(protocol)
	product, version := splitProduct(software, "_")
	s.Product, s.Version = word(product), word(version)
	if comment != "" {
		s.Facts["comment"] = word(comment)
	}
	if release := debian(comment); release != "" {
		s.Facts["release"] = word("debian " + release)
	}
	return s
}

// debian gives the number of the release that a package's version names.
func debian(version string) string {
	if m := debianRelease.FindStringSubmatch(version); m != nil {
		return m[1]
	}
	if m := debianName.FindStringSubmatch(version); m != nil {
		return debianNumber[m[1]]
	}
	return ""
}

// sshLine finds the identification string, however many lines stand before it, and tells whether it is whole.
func sshLine(b []byte) (line []byte, whole, ok bool) {
	for !bytes.HasPrefix(b, []byte("HTTP/")) {
		if bytes.HasPrefix(b, []byte("SSH-")) {
			i := bytes.IndexByte(b, '\n')
			return firstLine(b), i >= 0 && i < lineMax, true
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		b = b[i+1:]
	}
	return nil, false, false
}

func isVersion(s string) bool {
	major, minor, ok := strings.Cut(s, ".")
	return ok && digits(major) && digits(minor)
}

func digits(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}
