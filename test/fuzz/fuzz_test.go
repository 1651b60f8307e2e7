package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// Progress is counted wherever the pipe cuts a line, and a target is ended once it has made enough executions.
func TestProgressEndsATarget(t *testing.T) {
	ends := 0
	w := &watcher{enough: 1000, end: sync.OnceFunc(func() { ends++ })}
	for _, piece := range []string{"fuzz: elapsed: 0s, gathering baseline coverage: 0/2 completed\nfuzz: elapsed: 3s, execs: 9", "99 (333/sec), new interesting: 1 (total: 3)\nfuzz: elapsed: 6s, ex", "ecs: 1001 (0/sec), new interesting: 1 (total: 3)\n", "fuzz: elapsed: 7s, execs: 1002 (1/sec)\nPASS\n"} {
		if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if w.executions != 1002 || ends != 1 {
		t.Errorf("%d executions, ended %d times", w.executions, ends)
	}
}

func TestOutcome(t *testing.T) {
	p := &testPackage{ImportPath: "demarc/internal/a"}
	p.Module.Path = "demarc"
	const progress = "fuzz: elapsed: 3s, execs: 10 (3/sec)\n"
	for name, c := range map[string]struct {
		said          string
		took          time.Duration
		err           error
		failed, short bool
		input         string
	}{
		"time":         {progress, 3 * time.Minute, nil, false, false, ""},
		"executions":   {"fuzz: elapsed: 9s, execs: 1000 (3/sec)\n", 9 * time.Second, nil, false, false, ""},
		"short":        {progress, time.Minute, nil, false, true, ""},
		"no target":    {"testing: warning: no fuzz tests to fuzz\nPASS\n", time.Second, nil, false, true, ""},
		"a new input":  {progress + "    Failing input written to testdata/fuzz/FuzzA/582528ddfad69eb5\n", time.Second, errors.New("exit status 1"), true, false, "internal/a/testdata/fuzz/FuzzA/582528ddfad69eb5"},
		"an old input": {"failure while testing seed corpus entry: FuzzA/582528ddfad69eb5\n", time.Second, errors.New("exit status 1"), true, false, "internal/a/testdata/fuzz/FuzzA/582528ddfad69eb5"},
		"a seed":       {"failure while testing seed corpus entry: FuzzA/seed#1\n", time.Second, errors.New("exit status 1"), true, false, ""},
	} {
		w := &watcher{enough: 1000, end: func() {}}
		_, _ = w.Write([]byte(c.said))
		got := w.outcome(p, "FuzzA", c.took, c.err, options{time: 3 * time.Minute, executions: 1000})
		if got.failed != c.failed || got.short != c.short || got.input != c.input {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The packages that run first exist and have targets.
func TestTargetsAreFound(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	if _, err := os.Stat("go.mod"); err != nil {
		t.Fatal(err)
	}
	ps, err := listed(t.Context(), regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range ps {
		paths = append(paths, p.path())
	}
	if len(paths) <= len(first) || !slices.Equal(paths[:len(first)], first) {
		t.Errorf("%v", paths)
	}
	some, err := listed(t.Context(), regexp.MustCompile(`^internal/post\.FuzzReply$`))
	if err != nil || len(some) != 1 || !slices.Equal(some[0].targets, []string{"FuzzReply"}) {
		t.Errorf("%+v, %v", some, err)
	}
}
