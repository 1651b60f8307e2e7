package fault_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"demarc/internal/fault"
)

// Nesting that would keep the parser for hours is refused at once, with its place.
func TestADocumentThatIsNestedTooDeepIsRefused(t *testing.T) {
	var steps strings.Builder
	for i := range 1000 {
		steps.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, text := range map[string]string{
		"brackets": "a: " + strings.Repeat("[", 1_000_000), "closed brackets": "a: " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		"braces": "a: " + strings.Repeat("{a: ", 500_000), "dashes": strings.Repeat("- ", 1_000_000) + "x", "steps": steps.String(),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			var v struct {
				A any `yaml:"a"`
			}
			f, ok := fault.Of(fault.DecodeYAML("x.yaml", []byte(text), &v))
			if !ok || !strings.Contains(f.Message, "nested too deep") || f.At.Line == 0 {
				t.Fatalf("got %v", f)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
	var v struct {
		A []any `yaml:"a"`
	}
	if err := fault.DecodeYAML("x.yaml", []byte("a: ["+strings.Repeat("[x, {y: z}], ", 1000)+"]"), &v); err != nil || len(v.A) != 1000 {
		t.Errorf("what is wide and not deep: %d entries, %v", len(v.A), err)
	}
}

// The decoder panics on some documents; nobody sees more of it than of any other mistake.
func TestADocumentThatTheDecoderPanicsOnIsRefused(t *testing.T) {
	var v struct {
		A []string `yaml:"a"`
	}
	f, ok := fault.Of(fault.DecodeYAML("x.yaml", []byte("a: &s !0 00"), &v))
	if !ok || f.Code != fault.Config || f.At.File != "x.yaml" || !strings.Contains(f.Message, "cannot be decoded") {
		t.Errorf("got %v", f)
	}
}

// A file of 100 MB is refused by its size, and not read.
func TestAHugeFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte("id: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100<<20); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, err := fault.ReadFile(path)
	runtime.ReadMemStats(&after)
	w, ok := fault.Of(err)
	if !ok || b != nil || w.At.File != path || !strings.Contains(w.Message, "larger than settings may be") {
		t.Errorf("got %d bytes and %v", len(b), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d MB were taken", used>>20)
	}
}
