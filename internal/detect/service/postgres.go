package service

import (
	"bytes"
	"encoding/binary"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// StartupMessage asks a PostgreSQL server for a session as the role. Source: PostgreSQL 15 manual §55.7.
func StartupMessage(role string) []byte {
	body := []byte{0, 3, 0, 0}
	body = append(body, "user\x00"+role+"\x00database\x00postgres\x00application_name\x00demarc\x00\x00"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// postgresAuth names the authentication requests of the protocol.
var postgresAuth = map[uint32]string{0: "ok", 2: "kerberos", 3: "password", 5: "md5", 7: "gss", 9: "sspi", 10: "sasl"}

// postgres reads the answer to a StartupMessage: an authentication request or an error.
func postgres(b []byte) *probe.Service {
	if len(b) < 9 || (b[0] != 'R' && b[0] != 'E') {
		return nil
	}
	n := binary.BigEndian.Uint32(b[1:5])
	if n < 8 || n > 8192 {
		return nil
	}
	s := &probe.Service{Name: PostgreSQL, Product: word("PostgreSQL"), Facts: map[string]untrusted.Text{}}
	if b[0] == 'R' {
		auth, known := postgresAuth[binary.BigEndian.Uint32(b[5:9])]
		if !known || n > 128 {
			return nil
		}
		s.Facts["auth"] = word(auth)
		s.Banner = untrusted.Bytes(b[:min(len(b), int(n)+1, 64)])
		if auth == "md5" && len(b) >= 9 { // the salt that follows differs each time
			s.Banner = untrusted.Bytes(b[:9])
		}
		return s
	}
	code, message, ok := postgresError(b[5:min(len(b), int(n)+1)])
	if !ok {
		return nil
	}
	s.Facts["code"], s.Facts["message"] = text(code), text(message)
	s.Banner = untrusted.Bytes(append(append(bytes.Clone(code), ' '), message...)).Cap(bannerMax)
	return s
}

// postgresError reads the fields of an ErrorResponse; a severity and an SQLSTATE of five are what make it one.
func postgresError(b []byte) (code, message []byte, ok bool) {
	severity := false
	for len(b) > 1 && b[0] != 0 {
		field := b[0]
		value, rest, found := bytes.Cut(b[1:], []byte{0})
		if !found {
			break
		}
		switch field {
		case 'S', 'V':
			severity = severity || bytes.Equal(value, []byte("FATAL")) || bytes.Equal(value, []byte("ERROR")) || field == 'S'
		case 'C':
			code = value
		case 'M':
			message = value
		}
		b = rest
	}
	return code, message, severity && len(code) == 5
}
