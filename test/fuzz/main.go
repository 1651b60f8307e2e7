// Command fuzz runs every fuzz target of the repository, each until it has made a million executions or has had three minutes.
//
// The parsers of what tenants and strangers write come first. A target that fails prints the path of the failing input and what the test
// said; the others still run.
//
// The last line is {"targets":N,"executions":N,"least":N,"failed":N,"short":N,"seconds":S}: least is the smallest number of executions of
// a target that did not fail, short the number of targets that ended with neither the executions nor the time. Exit status: 0 no target
// failed, 1 one failed, 3 the suite could not run, or was interrupted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"
)

// result is the last line.
type result struct {
	Targets    int   `json:"targets"`
	Executions int64 `json:"executions"`
	Least      int64 `json:"least"`
	Failed     int   `json:"failed"`
	Short      int   `json:"short"`
	Seconds    int   `json:"seconds"`
}

// options are what the command line asks for.
type options struct {
	only       *regexp.Regexp
	time       time.Duration
	executions int64
	parallel   int
}

func main() {
	only := flag.String("only", "", "run only the targets whose package.Name matches this regular expression")
	limit := flag.Duration("time", 3*time.Minute, "the longest that a target runs")
	executions := flag.Int64("executions", 1_000_000, "the executions after which a target ends early")
	parallel := flag.Int("parallel", 0, "the workers of a target; 0: one for each processor")
	flag.Parse()
	re, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 || *limit < time.Second || *executions < 1 || *parallel < 0 {
		fmt.Fprintln(os.Stderr, "fuzz: -only wants a regular expression, -time at least 1s, -executions at least 1, -parallel at least 0, and nothing follows them")
		os.Exit(3)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, options{only: re, time: *limit, executions: *executions, parallel: *parallel}))
}

func run(ctx context.Context, o options) int {
	start := time.Now()
	r, err := runAll(ctx, o)
	r.Seconds = int(time.Since(start).Seconds())
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		return 3
	}
	line, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		return 3
	}
	fmt.Println(string(line))
	switch {
	case r.Failed > 0:
		return 1
	case r.Short > 0:
		return 3
	}
	return 0
}

// runAll runs the targets of one package after another.
func runAll(ctx context.Context, o options) (result, error) {
	var r result
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cache, err := cacheDir(ctx)
	if err != nil {
		return r, err
	}
	packages, err := listed(ctx, o.only)
	if err != nil {
		return r, err
	}
	for _, p := range packages {
		if err := p.build(ctx, dir); err != nil {
			return r, err
		}
		for _, name := range p.targets {
			t := p.fuzz(ctx, name, cache, o)
			if err := ctx.Err(); err != nil {
				return r, errors.Join(errors.New("interrupted"), err)
			}
			r.add(t)
			t.print(o)
		}
	}
	if r.Targets == 0 {
		return r, errors.New("no target matches")
	}
	return r, nil
}

// add counts a target.
func (r *result) add(t outcome) {
	r.Targets++
	r.Executions += t.executions
	switch {
	case t.failed:
		r.Failed++
		return
	case t.short:
		r.Short++
	}
	if r.Least == 0 || t.executions < r.Least {
		r.Least = t.executions
	}
}
