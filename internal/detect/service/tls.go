package service

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"time"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// Record and message types of TLS. Source: RFC 5246 section 6.2.1 and 7.4, RFC 8446 section 5.1 and 4.
const (
	recordAlert     = 21
	recordHandshake = 22
	recordMax       = 1<<14 + 2048
	alertWarning    = 1
	alertFatal      = 2
	recordsMax      = 64

	serverHello     = 2
	certificateMsg  = 11
	serverHelloDone = 14

	extSupportedVersions = 43
)

var tlsVersions = map[uint16]string{0x0300: "ssl3", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}

// Flight is what a server said in the beginning of a TLS handshake, as far as it can be read without keys.
type Flight struct {
	Speaks  bool       // the bytes are a server's TLS records
	Done    bool       // nothing more is to be expected before the client speaks, or nothing that can be read
	Version string     // as probe.TLS has it; "" where the server chose none
	Leaf    *probe.TLS // the certificate as sent, without the version; nil where it was not sent in plain, or is none
}

// ParseFlight reads the bytes that a server answered a ClientHello with, whatever became of the handshake.
func ParseFlight(b []byte) (f Flight) {
	var messages []byte
	for n := 0; n < recordsMax && len(b) >= 5; n++ {
		kind, major, minor, size := b[0], b[1], b[2], int(binary.BigEndian.Uint16(b[3:5]))
		if major != 3 || minor > 4 || size == 0 || size > recordMax {
			break
		}
		payload := b[5:min(len(b), 5+size)]
		switch {
		case kind == recordAlert && len(messages) == 0 && size == 2 && len(payload) == 2 && payload[0] == alertFatal:
			return Flight{Speaks: true, Done: true}
		case kind == recordAlert && len(messages) == 0 && size == 2 && len(payload) == 2 && payload[0] == alertWarning:
			f.Speaks = true // the handshake goes on after it
			b = b[5+size:]
			continue
		case kind == recordHandshake && len(messages) == 0 && (len(payload) < 1 || payload[0] != serverHello):
			return f
		case kind == recordHandshake:
			f.Speaks = true
			messages = append(messages, payload...)
		default: // what follows is an alert, or encrypted
			f.Done = f.Speaks
		}
		if len(payload) < size || kind != recordHandshake {
			break
		}
		b = b[5+size:]
	}
	if f.Speaks {
		f.readMessages(messages)
	}
	return f
}

func (f *Flight) readMessages(b []byte) {
	for len(b) >= 4 {
		size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if len(b) < 4+size {
			return
		}
		body := b[4 : 4+size]
		switch b[0] {
		case serverHello:
			f.Version = tlsVersions[helloVersion(body)]
		case certificateMsg:
			if len(body) >= 6 {
				leaf := int(body[3])<<16 | int(body[4])<<8 | int(body[5])
				f.Leaf = ReadCertificate(body[6:min(len(body), 6+leaf)])
			}
		case serverHelloDone:
			f.Done = true
		}
		b = b[4+size:]
	}
}

// helloVersion gives the version that a ServerHello chooses: of its extension supported_versions, where it has one. Source: RFC 8446
// section 4.1.3 and 4.2.1.
func helloVersion(b []byte) uint16 {
	if len(b) < 35 {
		return 0
	}
	version := binary.BigEndian.Uint16(b)
	at := 35 + int(b[34]) + 3 // random, session id, suite and compression
	if len(b) < at+2 {
		return version
	}
	for ext := b[at+2:]; len(ext) >= 4; {
		kind, size := binary.BigEndian.Uint16(ext), int(binary.BigEndian.Uint16(ext[2:]))
		if len(ext) < 4+size {
			break
		}
		if kind == extSupportedVersions && size == 2 {
			return binary.BigEndian.Uint16(ext[4:])
		}
		ext = ext[4+size:]
	}
	return version
}

// ReadCertificate reads an X.509 certificate as far as facts are taken from it, and does not judge it: a serial number or a key that a
// verifier would refuse hides no date. It gives nil for bytes without a validity. Source: RFC 5280 section 4.1.
func ReadCertificate(der []byte) *probe.TLS {
	outer, _, ok := element(der, 0x30)
	if !ok {
		return nil
	}
	tbs, _, ok := element(outer, 0x30)
	if !ok {
		return nil
	}
	if _, rest, ok := element(tbs, 0xa0); ok { // the version, which the first one leaves out
		tbs = rest
	}
	var parts [6][]byte // serial number, algorithm, issuer, validity, subject, key
	for i := range parts {
		size := elementSize(tbs)
		if size < 0 {
			return nil
		}
		parts[i], tbs = tbs[:size], tbs[size:]
	}
	validity, _, ok := element(parts[3], 0x30)
	if !ok {
		return nil
	}
	size := elementSize(validity)
	if size < 0 {
		return nil
	}
	t := &probe.TLS{
		NotBefore: certTime(validity[:size]), NotAfter: certTime(validity[size:]),
		Subject: distinguished(parts[4]), Issuer: distinguished(parts[2]),
	}
	if t.NotBefore == 0 && t.NotAfter == 0 {
		return nil
	}
	sum := sha256.Sum256(parts[5])
	t.KeyHash = hex.EncodeToString(sum[:])
	return t
}

// elementSize gives the length of the DER element at the start of b, its header included; -1 where there is none.
func elementSize(b []byte) int {
	_, head, size := header(b)
	if size < 0 || head+size > len(b) {
		return -1
	}
	return head + size
}

// element takes the content of the element at the start of b, which must have this tag.
func element(b []byte, tag byte) (content, rest []byte, ok bool) {
	is, head, size := header(b)
	if size < 0 || is != tag || head+size > len(b) {
		return nil, nil, false
	}
	return b[head : head+size], b[head+size:], true
}

// header reads the tag and length of an element; size is -1 where it is none. Lengths of more than three bytes do not fit what is read.
func header(b []byte) (tag byte, head, size int) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, 0, -1
	}
	if b[1] < 0x80 {
		return b[0], 2, int(b[1])
	}
	n := int(b[1] & 0x7f)
	if n == 0 || n > 3 || len(b) < 2+n {
		return 0, 0, -1
	}
	for _, c := range b[2 : 2+n] {
		size = size<<8 | int(c)
	}
	return b[0], 2 + n, size
}

// certTime reads a UTCTime or GeneralizedTime in µs; 0 where it is none. RFC 5280 wants seconds and Z; servers also send times without
// seconds, or with an offset.
func certTime(b []byte) int64 {
	if content, _, ok := element(b, 0x18); ok {
		t, ok := timeIn(string(content), "20060102150405Z0700", "200601021504Z0700")
		return micro(t, ok)
	}
	content, _, ok := element(b, 0x17)
	if !ok {
		return 0
	}
	t, ok := timeIn(string(content), "060102150405Z0700", "0601021504Z0700")
	if t.Year() >= 2050 { // two digits mean 1950 to 2049
		t = t.AddDate(-100, 0, 0)
	}
	return micro(t, ok)
}

func timeIn(s string, forms ...string) (time.Time, bool) {
	for _, form := range forms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func micro(t time.Time, ok bool) int64 {
	if !ok {
		return 0
	}
	return t.UnixMicro()
}

// distinguished writes a name as RFC 2253 has it; empty where it can not be read.
func distinguished(der []byte) untrusted.Text {
	var rdn pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &rdn); err != nil {
		return untrusted.Text{}
	}
	var name pkix.Name
	name.FillFromRDNSequence(&rdn)
	return untrusted.From(name.String()).Cap(factMax)
}

// Offered in the ClientHello below: all that a server may need to send its certificate, whether Go's library can go on from there or not.
var (
	helloSuites = []uint16{
		0xc02b, 0xc02c, 0xcca9, 0xc023, 0xc024, 0xc009, 0xc00a, 0xc0ac, 0xc0ad, 0xc072, 0xc073, 0xc008, // ECDHE, ECDSA
		0xc02f, 0xc030, 0xcca8, 0xc027, 0xc028, 0xc013, 0xc014, 0xc076, 0xc077, 0xc012, // ECDHE, RSA
		0x009e, 0x009f, 0xccaa, 0x0067, 0x006b, 0x0033, 0x0039, 0x0045, 0x0088, 0x009a, 0x0016, // DHE, RSA
		0x00a2, 0x00a3, 0x0040, 0x006a, 0x0032, 0x0038, 0x0044, 0x0087, 0x0013, // DHE, DSS
		0x009c, 0x009d, 0x003c, 0x003d, 0x002f, 0x0035, 0x0041, 0x0084, 0x0096, 0x000a, 0x0005, 0x0004, // RSA
		0x00ff, // renegotiation is known
	}
	helloGroups     = []uint16{29, 23, 24, 25, 30, 26, 27, 28, 22, 21, 19, 256, 257, 258, 259, 260} // brainpool: 26 to 28
	helloSignatures = []uint16{
		0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0807, 0x0808,
		0x0401, 0x0501, 0x0601, 0x0402, 0x0502, 0x0602, 0x0303, 0x0301, 0x0302, 0x0203, 0x0201, 0x0202,
	}
)

// ClientHello is a hello of TLS 1.2 that offers more than Go's library can finish, brainpool curves and plain Diffie-Hellman among it. It
// is sent only to read the certificate, which that version sends in plain, and the connection ends after it: nothing secret depends on
// its random, which says what it is for. Source: RFC 5246 section 7.4.1.2.
func ClientHello() []byte {
	body := []byte{3, 3}
	body = append(body, "demarc reads the certificate    "...)
	body = append(body, 0) // no session
	body = appendList(body, helloSuites)
	body = append(body, 1, 0) // no compression
	ext := appendExtension(nil, 10, appendList(nil, helloGroups))
	ext = appendExtension(ext, 11, []byte{1, 0})
	ext = appendExtension(ext, 13, appendList(nil, helloSignatures))
	ext = appendExtension(ext, 23, nil)                                          // extended master secret
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(ext))), ext...) //nolint:gosec // constants
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	record := binary.BigEndian.AppendUint16([]byte{recordHandshake, 3, 1}, uint16(len(message))) //nolint:gosec // constants
	return append(record, message...)
}

func appendList(b []byte, values []uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(values))) //nolint:gosec // constants
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func appendExtension(b []byte, kind uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...) //nolint:gosec // constants
}

// isClientHello tells our own hello from other questions.
func isClientHello(b []byte) bool { return bytes.HasPrefix(b, []byte{recordHandshake, 3, 1}) }
