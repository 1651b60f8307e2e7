package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outcome is what a run of one target came to.
type outcome struct {
	name       string // with its package
	executions int64
	took       time.Duration
	failed     bool
	short      bool   // it ended with neither the executions nor the time
	input      string // the path of the failing input, where one was written
	output     string // what the test said, where it failed or was short
}

// startup is how much longer than its time a target may take to start and to end. One that takes longer is killed, and has failed.
const startup = 2 * time.Minute

// fuzz runs one target, and interrupts it once it has had its executions or its time. It gives no -test.fuzztime, because up to Go 1.26 the
// end of that time may count as a failure (https://go.dev/issue/75804). The test binary runs without the go command between, so that the
// interrupt reaches it alone.
func (p *testPackage) fuzz(ctx context.Context, name, cache string, o options) outcome {
	limited, cancel := context.WithTimeout(ctx, o.time+startup)
	defer cancel()
	args := []string{"-test.run=^$", "-test.fuzz=^" + name + "$", "-test.fuzzminimizetime=10x", "-test.fuzzcachedir=" + filepath.Join(cache, p.ImportPath)}
	if o.parallel > 0 {
		args = append(args, "-test.parallel="+strconv.Itoa(o.parallel))
	}
	cmd := exec.CommandContext(limited, p.binary, args...)
	cmd.Dir = p.Dir
	cmd.WaitDelay = 10 * time.Second // for its workers, which hold the pipe too
	w := &watcher{enough: o.executions}
	w.end = sync.OnceFunc(func() { _ = cmd.Process.Signal(os.Interrupt) })
	cmd.Stdout, cmd.Stderr = w, w
	start := time.Now()
	err := cmd.Start()
	if err == nil {
		timer := time.AfterFunc(o.time, w.end)
		err = cmd.Wait()
		timer.Stop()
	}
	return w.outcome(p, name, time.Since(start), err, o)
}

func (w *watcher) outcome(p *testPackage, name string, took time.Duration, err error, o options) outcome {
	t := outcome{name: p.path() + "." + name, executions: w.executions, took: took, failed: err != nil}
	t.short = !t.failed && t.executions < o.executions && took < o.time
	if t.failed || t.short {
		t.output = w.kept.String()
	}
	if err != nil {
		t.output += err.Error() + "\n"
	}
	if m := newInput.FindStringSubmatch(t.output); m != nil {
		t.input = filepath.Join(p.path(), m[1])
	} else if m := oldInput.FindStringSubmatch(t.output); m != nil {
		t.input = filepath.Join(p.path(), "testdata", "fuzz", m[1])
	}
	return t
}

// How the testing package names the input that fails: a new one by its path, and one that is kept already by what follows testdata/fuzz.
var (
	newInput = regexp.MustCompile(`Failing input written to (\S+)`)
	oldInput = regexp.MustCompile(`failure while testing seed corpus entry: (Fuzz\w+/[0-9a-f]+)\s`)
)

// print writes the line of a target, and below it what failed.
func (t outcome) print(o options) {
	verdict := "ok"
	switch {
	case t.failed:
		verdict = "FAILED"
	case t.short:
		verdict = fmt.Sprintf("SHORT: fewer than %d executions in less than %s", o.executions, o.time)
	}
	fmt.Printf("%-45s %9d executions %5.0f s  %s\n", t.name, t.executions, t.took.Seconds(), verdict)
	if t.input != "" {
		fmt.Println("failing input:", t.input)
	}
	fmt.Print(t.output)
}

// watcher reads what a target prints while it runs, and ends it once it has made enough executions.
type watcher struct {
	enough, executions int64
	end                func() // may be called again
	line               []byte // without its end yet
	kept               strings.Builder
}

// most is how much of the output of a target is kept.
const most = 64 << 10

var progressLine = regexp.MustCompile(`^fuzz: elapsed: .*, execs: (\d+) `)

func (w *watcher) Write(b []byte) (int, error) {
	w.line = append(w.line, b...)
	for {
		line, rest, whole := bytes.Cut(w.line, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		w.read(string(line))
		w.line = rest
	}
}

// read takes one line: the progress, or something to keep.
func (w *watcher) read(line string) {
	m := progressLine.FindStringSubmatch(line)
	if m == nil {
		if w.kept.Len()+len(line) < most {
			w.kept.WriteString(line + "\n")
		}
		return
	}
	w.executions, _ = strconv.ParseInt(m[1], 10, 64) // digits alone; what overflows is the largest number
	if w.executions >= w.enough {
		w.end()
	}
}
