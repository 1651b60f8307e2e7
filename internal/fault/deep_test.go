package fault_test

import (
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
