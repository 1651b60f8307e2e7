package untrusted_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"demarc/internal/untrusted"
)

// A JSON document for a terminal means what it meant, and holds no rune that does not show.
func TestJSONShowsAndMeansTheSame(t *testing.T) {
	t.Parallel()
	const hidden = "a\u202eb\u200b\u2066c\U000e0041\U000e007f\u0301\u00a0\u2028\u007f\ufeff\ue000é中😀"
	rapid.Check(t, func(t *rapid.T) {
		v := map[string]any{rapid.String().Draw(t, "key"): rapid.String().Draw(t, "value"), "tags": []any{hidden, "plain"}}
		doc, err := json.MarshalIndent(v, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		shown := untrusted.JSON(doc)
		var again map[string]any
		if err := json.Unmarshal(shown, &again); err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("%v: %q became %q", err, doc, shown)
		}
		if string(untrusted.JSON(shown)) != string(shown) {
			t.Fatalf("%q changes again", shown)
		}
		if i := strings.IndexAny(string(shown), "\u202e\u200b\u2066\U000e0041\U000e007f\u0301\u00a0\u2028\u007f\ufeff\ue000"); i >= 0 {
			t.Fatalf("%q at %d", shown, i)
		}
		if !strings.Contains(string(shown), "é中😀") {
			t.Fatalf("what shows stays: %s", shown)
		}
	})
	if got := string(untrusted.JSON([]byte("\"\xff\""))); got != `"\ufffd"` {
		t.Errorf("a byte that is no text: %s", got)
	}
}
