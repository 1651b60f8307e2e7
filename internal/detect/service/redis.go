package service

import (
	"bytes"
	"regexp"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// What a Redis server says to a PING or to something that is no command of its own, as a line that no other protocol begins. Source: redis
// 7.0 src/server.c and src/networking.c, as observed. The words after the code differ between versions and forks.
var redisMarks = [][]byte{
	[]byte("+PONG"),
	[]byte("-NOAUTH "),
	[]byte("-DENIED "),
	[]byte("-LOADING "),
	[]byte("-ERR wrong number of arguments for 'get' command"),
	[]byte("-ERR unknown command"),
	[]byte("-ERR max number of clients reached"),
	[]byte("-ERR operation not permitted"),
	[]byte("-NOPERM "),
	[]byte("redis_version:"),
}

var redisVersion = regexp.MustCompile(`(?m)^redis_version:([0-9][0-9A-Za-z.\-]{0,30})`)

func redisMark(line []byte) bool {
	for _, m := range redisMarks {
		if bytes.HasPrefix(line, m) {
			return true
		}
	}
	return false
}

// redisError is an error of the serialisation protocol: a code in capitals and a text, on one line. ERR alone is not enough to know Redis
// by, since POP3 says it too. Source: https://redis.io/docs/latest/develop/reference/protocol-spec/.
var redisError = regexp.MustCompile(`^-[A-Z][A-Z0-9_]{2,30} [^\r\n]{1,500}\r\n$`)

// answersPing tells whether an answer to a PING in the array form can only be Redis: one line, an error. A protocol that reads lines sees
// three of them in that question and answers each.
func answersPing(b []byte) bool { return redisError.Match(b) }

func redis(b []byte) *probe.Service {
	line := firstLine(b)
	if v := redisVersion.FindSubmatch(b[:min(len(b), 4096)]); v != nil && line != nil {
		return &probe.Service{Name: Redis, Product: word("Redis"), Version: text(v[1]), Banner: untrusted.From("redis_version:" + string(v[1]))}
	}
	if !redisMark(line) && (bytes.HasPrefix(line, []byte("-ERR ")) || !redisError.Match(b)) {
		return nil
	}
	return redisService(line)
}

func redisService(line []byte) *probe.Service {
	return &probe.Service{Name: Redis, Product: word("Redis"), Banner: untrusted.Bytes(line).Cap(bannerMax), Facts: map[string]untrusted.Text{"reply": text(line)}}
}
