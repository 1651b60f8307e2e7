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

// sslRequest asks a PostgreSQL server whether this port speaks TLS: it answers S or N. Source: PostgreSQL 15 manual §55.7.
var sslRequest = []byte{0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}

// postgresAnswer reads the first message of an answer, which must be whole, as one of probe.PGAnswers; "" for any other. An error is read
// by its SQLSTATE and the routine that raised it, which every version and language has in common; its words are not read.
func postgresAnswer(b []byte) string {
	if string(b) == "N" {
		return probe.PGNoTLS
	}
	if !postgresWhole(b) {
		return ""
	}
	body := b[5 : binary.BigEndian.Uint32(b[1:5])+1]
	switch b[0] {
	case 'R':
		if len(body) < 4 {
			return ""
		}
		switch auth := postgresAuth[binary.BigEndian.Uint32(body)]; auth {
		case "":
			return ""
		case "ok":
			return probe.PGAdmitted
		default:
			return probe.PGRefused
		}
	case 'E':
		f := postgresFields(body)
		if (f['S'] != "" || f['V'] != "") && f['C'] == "28000" && f['R'] == "ClientAuthentication" {
			return probe.PGRefused
		}
	}
	return ""
}

// postgresWhole tells whether the first message came to its end.
func postgresWhole(b []byte) bool {
	if len(b) < 5 {
		return false
	}
	n := binary.BigEndian.Uint32(b[1:5])
	return n >= 4 && n <= postgresMax && len(b) >= int(n)+1
}

const postgresMax = 8192 // bytes of a message that are read

// postgresAuth names the authentication requests of the protocol.
var postgresAuth = map[uint32]string{0: "ok", 2: "kerberos", 3: "password", 5: "md5", 7: "gss", 9: "sspi", 10: "sasl"}

// postgres reads the answer to a StartupMessage: an authentication request or an error.
func postgres(b []byte) *probe.Service {
	if len(b) < 9 || (b[0] != 'R' && b[0] != 'E') {
		return nil
	}
	n := binary.BigEndian.Uint32(b[1:5])
	if n < 8 || n > postgresMax {
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

// postgresError reads an ErrorResponse; a severity and an SQLSTATE of five are what make it one.
func postgresError(b []byte) (code, message []byte, ok bool) {
	f := postgresFields(b)
	return []byte(f['C']), []byte(f['M']), (f['S'] != "" || f['V'] != "") && len(f['C']) == 5
}

// postgresFields reads the fields of an ErrorResponse, as far as they are whole. Source: PostgreSQL 15 manual §55.8.
func postgresFields(b []byte) map[byte]string {
	out := map[byte]string{}
	for len(b) > 1 && b[0] != 0 && len(out) < 32 {
		value, rest, found := bytes.Cut(b[1:], []byte{0})
		if !found {
			break
		}
		out[b[0]] = string(value)
		b = rest
	}
	return out
}
