package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/untrusted"
)

//go:embed page
var files embed.FS

// pages are parsed as the program starts: one that is missing or wrong stops it there.
var pages = parse("line", "case", "mail", "policy", "probing", "guidance", "error")

func parse(names ...string) map[string]*template.Template {
	out := map[string]*template.Template{}
	for _, n := range names {
		out[n] = template.Must(template.New("frame.html").Funcs(template.FuncMap{
			"u":     untrusted.Text.HTML,
			"mixed": func(s string) template.HTML { return untrusted.From(s).HTML() },
			"ref":   casework.Ref,
			"words": func(s any) string { return strings.ReplaceAll(text(s), "_", " ") },
			"tone":  tone,
			"dict":  pair,
		}).ParseFS(files, "page/frame.html", "page/"+n+".html"))
	}
	return out
}

// show writes a page, whole or not at all.
func (s *site) show(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := pages[name].Execute(&b, data); err != nil {
		s.Log.Error("page", "name", name, "err", err)
		http.Error(w, "The page could not be made. The reason is in the log.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case casework.State:
		return string(v)
	case casework.Step:
		return string(v)
	case casework.Track:
		return string(v)
	case casework.ActKind:
		return string(v)
	case casework.ActState:
		return string(v)
	case casework.MailStatus:
		return string(v)
	case finding.State:
		return string(v)
	case finding.Verdict:
		return string(v)
	}
	return "?"
}

// tone is the colour of a state; the state's own word always stands beside it.
func tone(v any) string {
	switch text(v) {
	case "new", "suspected", "pending", "intended":
		return "quiet"
	case "notified", "acknowledged", "open", "claimed", "verifying":
		return "busy"
	case "overdue", "final_warning", "queued", "unverifiable", "attribution_hold", "on_hold", "held", "vulnerable":
		return "warn"
	case "restricted", "failed":
		return "grave"
	case "released", "verified", "fixed", "closed", "accepted", "done", "not_vulnerable", "removed":
		return "good"
	}
	return "quiet"
}

// stamp is one time as a page shows it.
type stamp struct{ ISO, Local, UTC string }

// When shows a time in the policy's zone and in UTC; the zero time is nothing.
func (f frame) When(at int64) stamp {
	if at == 0 {
		return stamp{}
	}
	t := time.UnixMicro(at)
	s := stamp{ISO: t.UTC().Format(time.RFC3339), Local: t.In(f.zone).Format("2 Jan 2006 15:04:05 MST")}
	if _, off := t.In(f.zone).Zone(); off != 0 {
		s.UTC = t.UTC().Format("2 Jan 15:04:05 MST")
	}
	return s
}

// labelled is a state with what it is a state of.
type labelled struct{ Frame, Item any }

func pair(f, item any) labelled { return labelled{f, item} }

// grouped writes a number with thin spaces between its thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
