package serve_test

import (
	"testing"

	"demarc/internal/casework"
	"demarc/internal/flow"
)

// A time to fix that somebody shortened before the notice went out is not the full time, whatever the notice said.
func TestShortenedTimeIsNotFull(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(map[string]any){
		"given": func(v map[string]any) { v["given"] = 20 * hour },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := false
			e := open(t, plot{heard: func(e *exam, h flow.Happening) {
				if h.Event == "mail.queued" && !done {
					done = true
					e.edit("kase", "", edit)
				}
			}})
			e.until("notified", 2, e.inState("cache-1", casework.Notified))
			k := e.theCase("cache-1")
			e.until("queued", 10, e.inState("cache-1", casework.Queued))
			e.approve("cache-1")
			e.untilIdle()
			if e.inState("cache-1", casework.Restricted)() {
				t.Errorf("off the network %d hours after the first notice; class E has 96 and 24", (e.clock.Now()-k.ClockFrom)/hour)
			}
		})
	}
}
