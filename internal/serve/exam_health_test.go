package serve_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"demarc/internal/casework"
	"demarc/internal/lab"
)

// lines keeps what is logged. Safe for concurrent use.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// count is how many lines hold all of some words.
func (l *lines) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
line:
	for _, line := range strings.Split(l.b.String(), "\n") {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue line
			}
		}
		n++
	}
	return n
}

// A cloud that stops answering makes the server unwell while the request is under way; it is logged once, and the operators are mailed,
// although the pipeline itself waits. When it answers again, the server is well, and says so.
func TestACloudThatHangsIsToldAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_ = l.Close()
	log := &lines{}
	e := open(t, plot{config: compressed("alert_after: 1s\nhealth: " + at), log: slog.New(slog.NewTextHandler(log, nil)), callMayTake: 300 * time.Millisecond})
	e.stop()
	r, err := e.serve()
	e.must(err)
	e.wait("well", func() bool {
		code, body := e.get(at, "/health", at)
		return code == 200 && strings.Contains(body, `"status":"ok"`)
	})
	e.w.Plan(lab.Fault{Kind: lab.Slow, Method: http.MethodGet, Path: "/networking", Delay: 3 * time.Second, Times: -1})
	e.wait("unwell", func() bool {
		code, body := e.get(at, "/health", at)
		return code == 503 && strings.Contains(body, `"status":"stuck"`)
	})
	e.wait("mailed", func() bool {
		for _, m := range e.w.Mail.For(operators) {
			if said := text(t, m); strings.Contains(said, "requests to the cloud") && strings.Contains(said, "/networking") {
				return true
			}
		}
		return false
	})
	if n := log.count("level=WARN", "requests to the cloud"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	e.w.ClearFaults()
	e.wait("well again", func() bool { code, _ := e.get(at, "/health", at); return code == 200 })
	e.wait("over", func() bool { return log.count("level=INFO", "work is done again", "requests to the cloud") > 0 })
	e.must(r.end())
}

// While Nova does not answer, each cause is logged once and audited once, whatever the number of servers and syncs, and servers are not asked for
// one by one.
func TestANovaThatIsDownIsToldOnce(t *testing.T) {
	t.Parallel()
	log := &lines{}
	e := open(t, plot{log: slog.New(slog.NewTextHandler(log, nil))})
	e.until("notified", 2, e.inState("cache-1", casework.Notified))
	e.w.Plan(lab.Fault{Kind: lab.Answer, Status: 503, RetryAfter: "0", Method: http.MethodGet, Path: "/compute", Times: -1})
	from := e.count("", "inventory.partial")
	e.after(6 * day)
	if n := e.count("", "inventory.partial") - from; n != 1 {
		t.Errorf("that the inventory is incomplete is told %d times", n)
	}
	if n := log.count("level=WARN", "incomplete inventory sync"); n < 1 || n > 6*24 {
		t.Errorf("it is logged %d times", n)
	}
	e.w.ClearFaults()
	e.until("whole again", 3, func() bool { return e.count("", "inventory.complete") == 1 })
	if n := log.count("level=INFO", "work is done again", "incomplete inventory sync"); n != 1 {
		t.Errorf("that it is over is logged %d times", n)
	}
}
