package fault

import (
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// Place finds where in a YAML document a path such as $.exchange[0].expect stands; the file alone where it
// does not.
func Place(name string, data []byte, path string) Position {
	at := Position{File: name}
	p, err := yaml.PathString(path)
	if err != nil {
		return at
	}
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return at
	}
	node, err := p.FilterFile(f)
	if err != nil || node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return at
	}
	at.Line, at.Col = node.GetToken().Position.Line, node.GetToken().Position.Column
	return at
}

// Nearest is Place of the path, or of the nearest part of it that stands in the document: a key that is missing is
// shown where it would belong.
func Nearest(name string, data []byte, path string) Position {
	for {
		at := Place(name, data, path)
		cut := strings.LastIndexAny(path, ".[")
		if at.Line > 0 || cut < 2 {
			return at
		}
		path = path[:cut]
	}
}

// ValueAt is the plain value of a key on a line of a YAML document, lines counted from 1, without quotes; "" where there is none.
func ValueAt(data []byte, line int, key string) string {
	lines := strings.Split(string(data), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	_, value, found := strings.Cut(lines[line-1], key+":")
	if !found {
		return ""
	}
	value, _, _ = strings.Cut(value, "#")
	if end := strings.IndexAny(value, ",}"); end >= 0 {
		value = value[:end]
	}
	return strings.Trim(strings.TrimSpace(value), `"'`)
}
