package demo

import (
	"testing"
	"time"

	"demarc/internal/flow"
)

// The whole story, told by the real line in the pretend world, and held against the world.
func TestTheStoryIsTold(t *testing.T) {
	d, err := New(t.Context(), Options{Anywhere: true, Tell: func(h flow.Happening) {
		t.Logf("%s %-8s %-24s %-12s %s %s %s %s", time.UnixMicro(h.At).UTC().Format("Jan 02 15:04"), h.Step, h.Event, h.Server, h.Check, h.State, h.MailTo, h.Detail)
	}, Say: func(at int64, what string) {
		t.Logf("%s      * %s", time.UnixMicro(at).UTC().Format("Jan 02 15:04"), what)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	out, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Stories {
		if !s.Held {
			t.Errorf("story %s: %s: %v", s.Story, s.What, s.Wrong)
		}
	}
	t.Logf("%+v", out)
}
