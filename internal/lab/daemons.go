package lab

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// daemons are what answers on a connection, until it ends.
var daemons = map[Kind]func(net.Conn, Service){
	Redis: redis, SSH: ssh, Telnet: telnet, HTTP: web, Postgres: postgres,
	Tarpit: func(c net.Conn, _ Service) { hold(c) },
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// redis speaks the serialisation protocol of https://redis.io/docs/latest/develop/reference/protocol-spec/ and its inline form.
func redis(c net.Conn, s Service) {
	if s.Mode == "protected" {
		_, _ = io.WriteString(c, "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.\r\n")
		return
	}
	in := bufio.NewReaderSize(io.LimitReader(c, 1<<20), 4096)
	for {
		words, err := redisCommand(in)
		if err != nil {
			return
		}
		if len(words) == 0 {
			continue
		}
		if _, err := io.WriteString(c, redisAnswer(words, s)); err != nil || strings.EqualFold(words[0], "QUIT") {
			return
		}
	}
}

func redisCommand(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if !strings.HasPrefix(line, "*") {
		return strings.Fields(line), nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 || n > 64 {
		return nil, fmt.Errorf("array of %q", line)
	}
	words := make([]string, 0, n)
	for range n {
		head, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimPrefix(strings.TrimRight(head, "\r\n"), "$"))
		if err != nil || size < 0 || size > 4096 {
			return nil, fmt.Errorf("string of %q", head)
		}
		buf := make([]byte, size+2)
		if _, err := io.ReadFull(in, buf); err != nil {
			return nil, err
		}
		words = append(words, string(buf[:size]))
	}
	return words, nil
}

func redisAnswer(words []string, s Service) string {
	cmd := strings.ToUpper(words[0])
	if s.Mode == "requirepass" && cmd != "QUIT" {
		if cmd == "AUTH" {
			return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
		}
		return "-NOAUTH Authentication required.\r\n"
	}
	switch cmd {
	case "PING":
		return "+PONG\r\n"
	case "QUIT":
		return "+OK\r\n"
	case "INFO":
		body := "# Server\r\nredis_version:" + orElse(s.Banner, "7.0.15") + "\r\nredis_mode:standalone\r\nos:Linux 6.1.0-18-amd64 x86_64\r\narch_bits:64\r\ntcp_port:" + portText(s.Port) + "\r\n"
		return fmt.Sprintf("$%d\r\n%s\r\n", len(body), body)
	}
	args := ""
	for _, a := range words[1:] {
		args += "'" + a + "' "
	}
	return fmt.Sprintf("-ERR unknown command '%s', with args beginning with: %s\r\n", words[0], args)
}

// ssh sends its identification (RFC 4253 section 4.2) and waits.
func ssh(c net.Conn, s Service) {
	if _, err := io.WriteString(c, orElse(s.Banner, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3")+"\r\n"); err == nil {
		hold(c)
	}
}

// telnet negotiates (RFC 854, 857, 858, 1091) and asks for a name.
func telnet(c net.Conn, s Service) {
	const iac, will, do, echo, sga, ttype = 255, 251, 253, 1, 3, 24
	_, _ = c.Write([]byte{iac, will, echo, iac, will, sga, iac, do, ttype})
	if _, err := io.WriteString(c, orElse(s.Banner, "\r\nDebian GNU/Linux 12\r\n")+"login: "); err == nil {
		hold(c)
	}
}

func web(c net.Conn, s Service) {
	in := bufio.NewReaderSize(io.LimitReader(c, 1<<20), 4096)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		body, status := "", http.StatusOK
		kind := "text/plain"
		if text, ok := s.Paths[req.URL.Path]; ok {
			body = text
		} else if req.URL.Path == "/" {
			kind = "text/html; charset=utf-8"
			body = "<!DOCTYPE html><html><head><title>" + html.EscapeString(s.Title) + "</title></head><body>" + html.EscapeString(s.Title) + "</body></html>\n"
		} else {
			body, status = "404 page not found\n", http.StatusNotFound
		}
		res := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: int64(len(body)), Close: req.Close,
			Header: http.Header{"Server": {orElse(s.Banner, "nginx/1.22.1")}, "Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}
		if err := res.Write(c); err != nil || req.Close {
			return
		}
	}
}

// postgres answers the first message of https://www.postgresql.org/docs/current/protocol-message-formats.html and, where
// it trusts, one query after it.
func postgres(c net.Conn, s Service) {
	body, ok := startup(c)
	if ok && len(body) >= 4 && binary.BigEndian.Uint32(body) == 80877103 { // SSLRequest: no
		if _, err := c.Write([]byte{'N'}); err != nil {
			return
		}
		body, ok = startup(c)
	}
	if !ok || len(body) < 4 {
		return
	}
	if v := binary.BigEndian.Uint32(body) >> 16; v != 3 {
		text := fmt.Sprintf("unsupported frontend protocol %d.0: server supports 3.0 to 3.0", v)
		_, _ = c.Write(errorResponse("0A000", text, "ProcessStartupPacket"))
		return
	}
	switch orElse(s.Mode, "trust") {
	case "md5":
		_, _ = c.Write(message('R', []byte{0, 0, 0, 5, 1, 2, 3, 4}))
		hold(c)
	case "scram":
		_, _ = c.Write(message('R', append([]byte{0, 0, 0, 10}, "SCRAM-SHA-256\x00\x00"...)))
		hold(c)
	case "reject":
		_, _ = c.Write(errorResponse("28000", "no pg_hba.conf entry for host, no encryption", "ClientAuthentication"))
	default:
		out := message('R', []byte{0, 0, 0, 0})
		for _, kv := range []string{"server_version\x00" + orElse(s.Banner, "15.6 (Debian 15.6-0+deb12u1)"), "server_encoding\x00UTF8"} {
			out = append(out, message('S', []byte(kv+"\x00"))...)
		}
		out = append(out, message('K', []byte{0, 0, 1, 0, 9, 9, 9, 9})...)
		_, _ = c.Write(append(out, message('Z', []byte{'I'})...))
		hold(c)
	}
}

func startup(c net.Conn) ([]byte, bool) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, false
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 8 || n > 10000 {
		return nil, false
	}
	body := make([]byte, n-4)
	_, err := io.ReadFull(c, body)
	return body, err == nil
}

func message(kind byte, body []byte) []byte {
	out := append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))...) //nolint:gosec // messages are short
	return append(out, body...)
}

func errorResponse(code, text, routine string) []byte {
	var b bytes.Buffer
	for _, f := range []string{"SFATAL", "VFATAL", "C" + code, "M" + text, "R" + routine} {
		b.WriteString(f + "\x00")
	}
	b.WriteByte(0)
	return message('E', b.Bytes())
}

func orElse(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
