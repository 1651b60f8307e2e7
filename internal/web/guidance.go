package web

import (
	"html/template"
	"net/http"
	"strings"

	"demarc/internal/fault"
	"demarc/internal/guide"
)

// guidanceView is a page of guidance, or the index of all.
type guidanceView struct {
	frame
	ID    string
	Body  template.HTML
	Parts []guide.Part
}

// guidance lists the pages that say how duties are carried out and findings mended.
func (s *site) guidance(w http.ResponseWriter, _ *http.Request) error {
	s.show(w, http.StatusOK, "guidance", guidanceView{frame: s.plain("Guidance"), Parts: guide.Parts()})
	return nil
}

// guidePage shows one of them, at the path that it has where they are published.
func (s *site) guidePage(w http.ResponseWriter, r *http.Request) error {
	id, isPage := strings.CutSuffix(r.PathValue("page"), ".html")
	p, err := guide.Find(id)
	if err != nil {
		return err
	}
	if !isPage || p.ID != id || string(p.Kind) != r.PathValue("kind") {
		return fault.New(fault.NotFound, "there is no such page")
	}
	body, err := p.HTML()
	if err != nil {
		return err
	}
	s.show(w, http.StatusOK, "guidance", guidanceView{frame: s.plain(p.Title), ID: p.ID, Body: body})
	return nil
}
