package fault_test

import (
	"fmt"
	"strings"
	"testing"

	"demarc/internal/fault"
)

// named is an id as our types have them.
type named string

// Inner is part of another.
type Inner struct {
	Zone string `yaml:"zone"`
}

type quotable struct {
	ID    named            `yaml:"id"`
	IDs   []named          `yaml:"ids"`
	Of    map[string][]int `yaml:"of"`
	To    map[named]named  `yaml:"to"`
	In    []Inner          `yaml:"in"`
	Maybe *string          `yaml:"maybe"`
	Count int              `yaml:"count"`
	Share float64          `yaml:"share"`
	On    bool             `yaml:"on"`
	Inner `yaml:",inline"`
}

// A text that YAML takes for a number is either read as it is written or refused with its place; it never becomes another.
func TestATextWithoutQuotesIsNeverAnother(t *testing.T) {
	var refused, kept int
	for _, s := range []string{"0123", "0x1F", "0o17", "1_000", "12.50", "0b11", "00000000000000000000000000000001", "+12", "-0", "00", "5.", ".5", "1.0", "123456789.5", ".inf", "-.inf", ".nan", "null", "~", "Null", "True", "FALSE",
		"0", "-1", "12", "12.5", "true", "false", "yes", "no", "09", "1e3", "1e400", "2026-01-01", "18446744073709551615", "12345678901234567890123", "-9223372036854775808", "9f", "a", "0.1"} {
		for _, where := range []string{"id: %s", "ids: [x, %s]", "ids:\n  - %s # as it is", "to: {x: %s}", "to: {%s: x}", "of: {%s: [1]}", "in:\n  - zone: %s", "zone: %s", "count: 1\nid: !!str %s", "id: &x %s", "ids: [&x %s, *x]"} {
			text := fmt.Sprintf(where, s)
			var v quotable
			err := fault.DecodeYAML("x.yaml", []byte(text), &v)
			if f, ok := fault.Of(err); ok {
				if refused++; f.Code != fault.Config || f.At.Line != strings.Count(text[:strings.Index(text, s)], "\n")+1 || !strings.Contains(f.Hint, `"`+s+`"`) {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			kept++
			got := []string{string(v.ID), v.Zone}
			for _, id := range v.IDs {
				got = append(got, string(id))
			}
			for k, x := range v.To {
				got = append(got, string(k), string(x))
			}
			for k := range v.Of {
				got = append(got, k)
			}
			for _, x := range v.In {
				got = append(got, x.Zone)
			}
			if n := strings.Count(strings.Join(got, " ")+" ", s+" "); n == 0 {
				t.Errorf("%q is read as %q", text, got)
			}
		}
	}
	if refused < 100 || kept < 100 {
		t.Errorf("%d are refused and %d kept", refused, kept)
	}
}

// What stands for a number, or for nothing, is still that.
func TestNumbersNeedNoQuotes(t *testing.T) {
	var v quotable
	if err := fault.DecodeYAML("x.yaml", []byte("id:\nids: []\nzone: \"0123\"\nmaybe: null\ncount: 0x1F\nshare: 12.50\non: True\nto: {'0x1': '~'}\nin:\n"), &v); err != nil {
		t.Fatal(err)
	}
	if v.ID != "" || v.Zone != "0123" || v.Maybe != nil || v.Count != 31 || v.Share != 12.5 || !v.On || v.To["0x1"] != "~" || v.In != nil {
		t.Errorf("got %+v", v)
	}
}
