package service

import (
	"bytes"
	"regexp"

	"demarc/internal/probe"
	"demarc/internal/untrusted"
)

// What a Redis server says to a PING or to something that is no command of its own. Source: redis 7.0
// src/server.c and src/networking.c, as observed.
var redisMarks = [][]byte{
	[]byte("+PONG"),
	[]byte("-NOAUTH "),
	[]byte("-DENIED Redis"),
	[]byte("-LOADING Redis"),
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

func redis(b []byte) *probe.Service {
	line := firstLine(b)
	if v := redisVersion.FindSubmatch(b[:min(len(b), 4096)]); v != nil && line != nil {
		return &probe.Service{Name: Redis, Product: word("Redis"), Version: text(v[1]), Banner: untrusted.From("redis_version:" + string(v[1]))}
	}
	if !redisMark(line) {
		return nil
	}
	return &probe.Service{Name: Redis, Product: word("Redis"), Banner: untrusted.Bytes(line).Cap(bannerMax), Facts: map[string]untrusted.Text{"reply": text(line)}}
}
