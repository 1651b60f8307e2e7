package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"demarc/internal/web"
)

// calls are the requests to the cloud that are under way. Safe for concurrent use.
type calls struct {
	mu    sync.Mutex
	began map[*http.Request]time.Time
	ended time.Time // when the last one came to its end with an answer
}

// watch counts the requests that pass a transport, until their answers are read.
func (c *calls) watch(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		c.begin(r)
		res, err := next.RoundTrip(r)
		if err != nil || res.Body == nil {
			c.end(r)
			return res, err
		}
		res.Body = &watchedBody{ReadCloser: res.Body, answered: c.answered, done: sync.OnceFunc(func() { c.end(r) })}
		return res, nil
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// watchedBody tells when an answer has been read, or given up.
type watchedBody struct {
	io.ReadCloser
	answered, done func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.answered()
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

func (c *calls) begin(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began == nil {
		c.began = map[*http.Request]time.Time{}
	}
	c.began[r] = time.Now()
}

func (c *calls) end(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.began, r)
}

func (c *calls) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = time.Now()
}

// answering tells whether the cloud has answered within a minute: a sync of a large cloud takes long, and moves.
func (c *calls) answering(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.ended) < time.Minute
}

// longest is how long the oldest request under way has waited, and which it is: method and path, without the query.
func (c *calls) longest(now time.Time) (waited time.Duration, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r, at := range c.began {
		if w := now.Sub(at); w > waited {
			waited, what = w, r.Method+" "+r.URL.Path
		}
	}
	return waited, what
}

func (s *Server) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepped, s.failed = time.Now(), err != nil
}

// When the server is not well.
const (
	stepMayTake  = 5 * time.Minute  // a step that sends no probes and asks the cloud nothing
	longMayTake  = 2 * time.Hour    // one that does: a sweep of a large netblock, or a full sync of a large cloud, takes long
	callMayTake  = 30 * time.Second // one request to the cloud, where Options say nothing else
	syncMayBe    = 5                // times the interval between two incremental syncs that the last sync may be old, and at least leastSyncAge
	leastSyncAge = 5 * time.Minute
)

// health is what is known of a server that runs. It tells nothing of any tenant.
type health struct {
	Status    string `json:"status"` // ok, degraded: something is not done, late: the cloud is not synced, stuck: a step or a request does not end
	Version   string `json:"version"`
	Paused    bool   `json:"enforcement_paused"`
	Database  bool   `json:"database_trusted"`
	Clock     bool   `json:"clock_trusted"`
	StepOK    bool   `json:"last_step_ok"`
	Step      string `json:"step"` // that is under way, or was last
	StepAge   int64  `json:"last_step_age_seconds"`
	SyncAge   int64  `json:"last_sync_age_seconds"` // since the server began, where there was none
	CallAge   int64  `json:"cloud_request_age_seconds"`
	Problems  int    `json:"problems"` // causes for which work is not done
	OldestAge int64  `json:"oldest_problem_age_seconds"`
}

// wellness is the health at a time of the machine.
func (s *Server) wellness(ctx context.Context, now time.Time) health {
	paused, unread := s.DB.Paused(ctx)
	s.mu.Lock()
	h := health{Status: "ok", Version: Version, Paused: paused || unread != nil, Database: !s.odd.Load(), Clock: s.trusted.Doubt() == "", StepOK: !s.failed}
	stepAge := now.Sub(s.stepped)
	s.mu.Unlock()
	working, _ := s.Line.Working()
	h.Step = working.Step
	synced := s.began
	if at := s.Line.SyncedAt(); at > 0 {
		synced = time.UnixMicro(at)
	}
	call, _ := s.calls.longest(now)
	ps := s.Line.Problems()
	h.StepAge, h.SyncAge, h.CallAge, h.Problems = seconds(stepAge), seconds(now.Sub(synced)), seconds(call), len(ps)
	if len(ps) > 0 {
		h.OldestAge = seconds(now.Sub(time.UnixMicro(ps[0].Since)))
		h.Status = "degraded"
	}
	mayTake, mayBeOld := stepMayTake, max(syncMayBe*time.Duration(s.Policy.Recent), leastSyncAge)
	if slices.Contains([]string{"sweep", "opened", "verify", "enforce"}, h.Step) && stepAge > watchEvery || s.calls.answering(now) {
		mayTake, mayBeOld = longMayTake, longMayTake
	}
	if now.Sub(synced) > mayBeOld {
		h.Status = "late"
	}
	if stepAge > mayTake || call > s.callMayTake {
		h.Status = "stuck"
	}
	return h
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// well tells whether a status needs nobody to look at once.
func (h health) well() bool { return h.Status == "ok" || h.Status == "degraded" }

// tellHealth answers GET /health: whether the pipeline moves.
func (s *Server) tellHealth(w http.ResponseWriter, r *http.Request) {
	if !web.Loopback(r.Host) { // a name that leads here may be another site's
		http.Error(w, "this answers on loopback alone", http.StatusMisdirectedRequest)
		return
	}
	if r.URL.Path != "/health" || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	h, status := s.wellness(ctx, time.Now()), http.StatusOK
	if !h.well() {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h)
}
