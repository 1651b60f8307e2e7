package service

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"

	"demarc/internal/probe"
)

const (
	recordCipherSpec  = 20
	recordApplication = 23
	secretMax         = 64
)

// tls13Suites are the suites of TLS 1.3 with AES: length of the key, and hash. Source: RFC 8446 appendix B.4.
var tls13Suites = map[uint16]struct {
	key  int
	hash func() hash.Hash
}{0x1301: {16, sha256.New}, 0x1302: {32, sha512.New384}}

// HandshakeSecret finds the server's secret in a key log as Go's library writes it; nil where there is none. It opens the server's part of
// one handshake, in which TLS 1.3 sends the certificate. Source: draft-ietf-tls-keylogfile section 1.
func HandshakeSecret(keyLog []byte) []byte {
	lines := bufio.NewScanner(bytes.NewReader(keyLog))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[0] != "SERVER_HANDSHAKE_TRAFFIC_SECRET" {
			continue
		}
		if secret, err := hex.DecodeString(fields[2]); err == nil && len(secret) <= secretMax {
			return secret
		}
	}
	return nil
}

// OpenFlight reads a handshake as ParseFlight does, and with the server's secret also what TLS 1.3 sends behind the ServerHello: there
// stands the certificate that Go's library refused to read.
func OpenFlight(b, secret []byte) Flight {
	f := ParseFlight(b)
	if f.Leaf != nil || f.Version != "1.3" || len(secret) == 0 {
		return f
	}
	var suite uint16
	var open cipher.AEAD
	var iv, messages []byte
	for n, seq := 0, uint64(0); n < recordsMax && len(b) >= 5; n++ {
		size := int(binary.BigEndian.Uint16(b[3:5]))
		if len(b) < 5+size {
			break
		}
		payload := b[5 : 5+size]
		switch b[0] {
		case recordHandshake:
			suite = helloSuite(payload)
		case recordCipherSpec:
		case recordApplication:
			if open == nil {
				if open, iv = recordKeys(suite, secret); open == nil {
					return f
				}
			}
			inner, err := open.Open(nil, nonce(iv, seq), payload, b[:5])
			if err != nil {
				return f
			}
			seq++
			inner = bytes.TrimRight(inner, "\x00") // padding, then the type of the record
			if len(inner) > 0 && inner[len(inner)-1] == recordHandshake {
				messages = append(messages, inner[:len(inner)-1]...)
			}
		default:
			n = recordsMax
		}
		b = b[5+size:]
	}
	f.Leaf = certificate13(messages)
	return f
}

// helloSuite gives the suite that a ServerHello chooses.
func helloSuite(message []byte) uint16 {
	if len(message) < 4+35 || message[0] != serverHello {
		return 0
	}
	at := 4 + 35 + int(message[4+34])
	if len(message) < at+2 {
		return 0
	}
	return binary.BigEndian.Uint16(message[at:])
}

// recordKeys derives what the server's records are sealed with; nil for a suite without AES. Source: RFC 8446 section 7.1 and 7.3.
func recordKeys(suite uint16, secret []byte) (cipher.AEAD, []byte) {
	s, known := tls13Suites[suite]
	if !known || len(secret) != s.hash().Size() {
		return nil, nil
	}
	expand := func(label string, length int) []byte {
		info := binary.BigEndian.AppendUint16(nil, uint16(length)) //nolint:gosec // 12 to 32
		info = append(append(info, byte(len("tls13 ")+len(label))), "tls13 "+label...)
		out, err := hkdf.Expand(s.hash, secret, string(append(info, 0)), length)
		if err != nil { // the lengths are constants
			return nil
		}
		return out
	}
	block, err := aes.NewCipher(expand("key", s.key))
	if err != nil {
		return nil, nil
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil
	}
	return aead, expand("iv", aead.NonceSize())
}

// nonce is the record's number over the initial vector. Source: RFC 8446 section 5.3.
func nonce(iv []byte, seq uint64) []byte {
	out := bytes.Clone(iv)
	for i := range 8 {
		out[len(out)-1-i] ^= byte(seq >> (8 * i))
	}
	return out
}

// certificate13 reads the first certificate among the messages of a server; nil where there is none. Source: RFC 8446 section 4.4.2.
func certificate13(b []byte) *probe.TLS {
	for len(b) >= 4 {
		size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if len(b) < 4+size {
			return nil
		}
		body := b[4 : 4+size]
		if b[0] == certificateMsg && len(body) > 0 {
			at := 1 + int(body[0]) + 3 // the request's context, and the length of the list
			if len(body) < at+3 {
				return nil
			}
			leaf := int(body[at])<<16 | int(body[at+1])<<8 | int(body[at+2])
			return ReadCertificate(body[at+3 : min(len(body), at+3+leaf)])
		}
		b = b[4+size:]
	}
	return nil
}
