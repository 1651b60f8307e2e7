package web

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"demarc/internal/casework/notice"
)

// month is how long probing.txt may be relied on after it was read.
const month = 30 * 24 * time.Hour

// probing tells people who were probed who does it, why, and what is never done. It is what mails and probes point to, so
// that it needs no ledger and does not load itself anew.
func (s *site) probing(w http.ResponseWriter, _ *http.Request) error {
	contact, _ := notice.CheckAddress(s.Contact)
	p := struct {
		frame
		Sources []string
		Contact string
	}{s.plain("Why we probe"), s.Sources, contact}
	p.Cloud = cmp.Or(s.Cloud, "this cloud")
	s.show(w, http.StatusOK, "probing", p)
	return nil
}

// probingText tells the same to programs. Source: RFC 9511, section 4; its fields are those of RFC 9116.
func (s *site) probingText(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	var b strings.Builder
	canonical := s.Canonical
	if canonical == "" {
		canonical = "http://" + r.Host + r.URL.Path
	}
	fmt.Fprintf(&b, "# Who probes, and why (RFC 9511)\nCanonical: %s\n", oneLine(canonical))
	if a, ok := notice.CheckAddress(s.Contact); ok {
		fmt.Fprintf(&b, "Contact: mailto:%s\n", a)
	}
	expires := time.UnixMicro(s.Now()).UTC().Add(month).Truncate(time.Second)
	fmt.Fprintf(&b, "Expires: %s\nPreferred-Languages: en\n", expires.Format(time.RFC3339))
	fmt.Fprintf(&b, "Description: %s is probed by its own operator, politely and at regular intervals, to find what is open by mistake. No password is tried and nothing is written.\n",
		oneLine(cmp.Or(s.Cloud, "This cloud")))
	_, err := w.Write([]byte(b.String()))
	return err
}

// oneLine keeps a value within its line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
