package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"demarc/internal/asset"
)

// JSON output shows what a tenant hid in a tag or an address, and means the same.
func TestJSONOutputShowsWhatIsHidden(t *testing.T) {
	t.Parallel()
	const hidden = "prod\u202e\u200b\U000e0041\u2066"
	var out bytes.Buffer
	if err := writeIndented(&out, []asset.Project{{ID: "p", Tags: []string{hidden}}}); err != nil {
		t.Fatal(err)
	}
	var again []asset.Project
	if err := json.Unmarshal(out.Bytes(), &again); err != nil || again[0].Tags[0] != hidden {
		t.Errorf("%v, %q", err, out.String())
	}
	if strings.ContainsAny(out.String(), hidden[len("prod"):]) || !strings.Contains(out.String(), `prod\u202e\u200b\udb40\udc41\u2066`) {
		t.Errorf("%q", out.String())
	}
}
