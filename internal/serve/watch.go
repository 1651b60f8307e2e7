package serve

import (
	"context"
	"fmt"
	"time"

	"demarc/internal/flow"
)

// watchEvery is how often the server looks at itself.
const watchEvery = 5 * time.Second

// alertAfter is after how long a problem is mailed to the operators, where the configuration says nothing else.
const alertAfter = 15 * time.Minute

// watch looks at the server beside its work: a cloud that does not answer is logged, and what lasts is mailed to the operators, although the
// pipeline itself may wait for that very answer.
func (s *Server) watch(ctx context.Context) {
	a := alerts{after: time.Duration(s.Config.AlertAfter), sent: map[string]bool{}}
	if a.after == 0 {
		a.after = alertAfter
	}
	every := time.NewTicker(min(watchEvery, s.callMayTake))
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-every.C:
			s.lookAtCalls(now)
			a.tell(ctx, s, now)
		}
	}
}

// lookAtCalls notes a request that the cloud does not answer, once it has waited for long.
func (s *Server) lookAtCalls(now time.Time) {
	const cause = "requests to the cloud"
	if waited, what := s.calls.longest(now); waited > s.callMayTake {
		s.Line.Meet(cause, fmt.Sprintf("%s has waited for %s", what, waited.Round(time.Second)))
	} else {
		s.Line.Overcome(cause)
	}
}

// alerts are the problems that the operators were told of.
type alerts struct {
	after time.Duration
	sent  map[string]bool // by cause
}

// tell mails the operators about problems that have lasted for long: once for each, all that are new in one mail. A mail that is not taken is
// tried again.
func (a *alerts) tell(ctx context.Context, s *Server, now time.Time) {
	ps := s.Line.Problems()
	lasts := map[string]bool{}
	var fresh []flow.Problem
	for _, p := range ps {
		lasts[p.Cause] = true
		if now.Sub(time.UnixMicro(p.Since)) >= a.after && !a.sent[p.Cause] {
			fresh = append(fresh, p)
		}
	}
	for cause := range a.sent {
		if !lasts[cause] {
			delete(a.sent, cause)
		}
	}
	if len(fresh) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	if err := s.Line.SendProblems(ctx, fresh); err != nil {
		s.log.Error("the operators could not be notified", "err", err)
		return
	}
	for _, p := range fresh {
		a.sent[p.Cause] = true
	}
	s.log.Info("the operators were notified of problems", "count", len(fresh))
}
