package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"demarc/internal/fault"
)

func TestEveryCommandShowsHowItIsUsed(t *testing.T) {
	t.Parallel()
	root := rootCommand()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		if !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: the example shows something else:\n%s", c.CommandPath(), c.Example)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

func TestAnErrorIsToldWithItsPlaceAndWayOut(t *testing.T) {
	t.Parallel()
	f := fault.New(fault.Config, "the zone %q is unknown", "moon").In(fault.Position{File: "a.yaml", Line: 3, Col: 7}).Hinted("one of internet, institution")
	for name, c := range map[string]struct {
		err  error
		json bool
		want string
	}{
		"none":           {nil, false, ""},
		"fault":          {f, false, "demarc: a.yaml:3:7: the zone \"moon\" is unknown\n  one of internet, institution\n"},
		"wrapped":        {fmt.Errorf("case c-1: %w", f), false, "demarc: a.yaml:3:7: case c-1: the zone \"moon\" is unknown\n  one of internet, institution\n"},
		"ours":           {errors.New("disk <full>"), false, "demarc: disk <full>\n"},
		"hostile":        {errors.New("the hop said \x1b[2J\u202e\r\nDATA"), false, "demarc: the hop said \\x1b[2J\\u{202e}\\x0d\n  DATA\n"},
		"fault as JSON":  {f, true, `{"error":{"code":"config","message":"the zone \"moon\" is unknown","hint":"one of internet, institution","at":{"file":"a.yaml","line":3,"column":7}}}` + "\n"},
		"ours as JSON":   {errors.New("disk <full>"), true, `{"error":{"code":"internal","message":"disk <full>"}}` + "\n"},
		"nobody as JSON": {nil, true, ""},
	} {
		var b bytes.Buffer
		printError(&b, c.err, c.json)
		if b.String() != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, b.String(), c.want)
		}
	}
}

func TestAnInterruptedCommandCouldNotLook(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"probe", "127.0.0.1:1"}, strings.NewReader(""), &out, &errs); code != 3 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("%d %s", code, errs.String())
	}
}

func TestJSONIsSeenInAnyForm(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"case list -o json": true, "case list --output json": true, "case list --output=json": true, "case list -ojson": true, "case list -o=json": true,
		"case list": false, "case list -o csv": false, "case list -o": false, "probe -- -o json": false,
	} {
		if wantsJSON(strings.Fields(line)) != want {
			t.Errorf("%q: not %t", line, want)
		}
	}
}
