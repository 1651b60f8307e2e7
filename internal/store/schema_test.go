package store

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// plain brings the text of a schema to one dialect: the words of the other engine, its comments and its spaces.
func plain(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "\n\n") // the head says which engine it is
	text = regexp.MustCompile(`(?m)^CREATE DOMAIN .*\n`).ReplaceAllString(text, "")
	for _, r := range [][2]string{{`BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY`, "number key"}, {`INTEGER PRIMARY KEY`, "number key"}, {`BIGINT PRIMARY KEY`, "number key"},
		{`\b(INTEGER|BIGINT)\b`, "number"}, {`\b(BLOB|BYTEA)\b`, "bytes"}, {`\bTEXT\b`, "word"}, {`[ \t]+`, " "}} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
}

// The two schemas are one, but for the words of the engines: the same tables, columns, constraints, indexes and comments.
func TestTheSchemasAreTheSame(t *testing.T) {
	a, b := plain(t, "schema.sqlite.sql"), plain(t, "schema.postgres.sql")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || strings.TrimSpace(a[i]) != strings.TrimSpace(b[i]) {
			t.Fatalf("line %d: SQLite %q, PostgreSQL %q", i, a[min(i, len(a)-1)], b[min(i, len(b)-1)])
		}
	}
	if len(a) < 120 {
		t.Errorf("%d lines", len(a))
	}
}

// Each mark of a condition takes one value, in order, and its number goes on from those before it.
func TestAMarkTakesOneValue(t *testing.T) {
	w := &where{}
	w.add("a = ?", 1)
	w.add("(b > ? OR c > ?)", 2, 3)
	w.in("d", []string{"x", "y"})
	w.add("e = f")
	w.add("g = ?", 4)
	if got := w.String(); got != " WHERE a = $1 AND (b > $2 OR c > $3) AND d IN ($4, $5) AND e = f AND g = $6" || !slices.Equal(w.args, []any{1, 2, 3, "x", "y", 4}) {
		t.Errorf("%s with %v", got, w.args)
	}
	for cond, args := range map[string][]any{"a = ?": nil, "a = 1": {1}, "(a = ? OR b = ?)": {1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q takes %v", cond, args)
				}
			}()
			w.add(cond, args...)
		}()
	}
}
