// Package web is the doors for people.
//
// Every page is made on the server, works without a script, and only shows: nothing can be changed here. The pages are
// served to this machine alone, because nobody has to say who they are.
package web

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"demarc/internal/access"
	"demarc/internal/fault"
	"demarc/internal/policy"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// Config says what is shown.
type Config struct {
	DB         *store.DB
	Cloud      string         // its name, for the heading
	Policy     *policy.Policy // gives the zone of times; its Mode is the highest that the configuration allows
	PolicyYAML []byte         // its text; empty: the default policy's
	ConfigYAML []byte         // the configuration's text, to be shown beside it; optional
	Now        func() int64   // policy time, µs
	Live       bool           // pages load themselves anew unless told not to, as in the demo
	Canonical  string         // URL of probing.txt, as probes carry it; optional
	Contact    string         // mail address for those who were probed
	Sources    []string       // the addresses that probes come from; optional
	Log        *slog.Logger   // optional
}

// New makes the pages.
func New(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.PolicyYAML) == 0 {
		c.PolicyYAML = policy.DefaultYAML()
	}
	s := &site{Config: c, zone: c.Policy.Location()}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.path, s.serve(r.page))
	}
	mux.Handle("/", s.serve((*site).missing))
	return manners(s.guard(mux))
}

// site serves the pages of one configuration.
type site struct {
	Config
	zone *time.Location
}

// manners sets on every answer what a browser must not do with it.
func manners(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range map[string]string{
			"Content-Security-Policy":      "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"Cache-Control":                "no-store",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
			"Referrer-Policy":              "no-referrer",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
		} {
			w.Header().Set(k, v)
		}
		next.ServeHTTP(w, r)
	})
}

// guard refuses what asks for another host, so that a name that was made to lead here cannot read the pages in
// somebody's browser, and every method that is not for reading.
func (s *site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !Loopback(r.Host):
			s.fail(w, r, http.StatusMisdirectedRequest, "These pages are served to this machine alone. Ask for 127.0.0.1 or localhost.")
		case strings.ContainsFunc(r.URL.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' }): // a redirect would write it out
			s.fail(w, r, http.StatusBadRequest, "The address is not one that a browser writes.")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			s.fail(w, r, http.StatusMethodNotAllowed, "These pages can be read, and nothing else.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Loopback tells whether a Host header names this machine: localhost, or an address on loopback. Other names are not
// resolved: what they lead to can change.
func Loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		name = name[1 : n-1]
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Zone() == "" && a.IsLoopback()
}

// serve turns what a page returns into an answer.
func (s *site) serve(page func(*site, http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := page(s, w, r)
		switch {
		case err == nil:
		case fault.Is(err, fault.NotFound):
			f, _ := fault.Of(err)
			s.fail(w, r, http.StatusNotFound, sentence(f.Message))
		case r.Context().Err() != nil: // the reader has gone
		default:
			s.Log.Error("page", "path", untrusted.From(r.URL.Path), "err", err)
			s.fail(w, r, http.StatusInternalServerError, "The page could not be made. The reason is in the log.")
		}
	})
}

func (s *site) missing(http.ResponseWriter, *http.Request) error {
	return fault.New(fault.NotFound, "there is no such page")
}

// sentence makes a message one.
func sentence(m string) string {
	if m == "" || m[0] < 'a' || m[0] > 'z' {
		return m + "."
	}
	return string(m[0]-'a'+'A') + m[1:] + "."
}

// fail shows what went wrong.
func (s *site) fail(w http.ResponseWriter, _ *http.Request, status int, message string) {
	s.show(w, status, "error", struct {
		frame
		Status  int
		Message string
	}{s.plain(http.StatusText(status)), status, message})
}

// frame is what every page shows around itself.
type frame struct {
	Title  string
	Cloud  string
	Mode   policy.Mode // in force
	Paused bool
	Now    int64
	Live   bool // the page loads itself anew
	Path   string
	zone   *time.Location
}

func (s *site) plain(title string) frame {
	return frame{Title: title, Cloud: cmp.Or(s.Cloud, "no cloud"), zone: s.zone}
}

// frame fills the frame for a reader.
func (s *site) frame(ctx context.Context, r *http.Request, title string) (frame, error) {
	f := s.plain(title)
	f.Now, f.Path, f.Live = s.Now(), r.URL.Path, s.Live
	switch r.URL.Query().Get("live") {
	case "0":
		f.Live = false
	case "1":
		f.Live = true
	}
	chosen, _, err := s.DB.Mode(ctx)
	if err != nil {
		return f, err
	}
	f.Mode = chosen.Lower(s.Policy.Mode)
	f.Paused, err = s.DB.Paused(ctx)
	return f, err
}

// Frame gives a page's frame to the parts of it.
func (f frame) Frame() frame { return f }

// reader is who reads: these pages are for operators.
func reader() access.Scope { return access.Operator() }
