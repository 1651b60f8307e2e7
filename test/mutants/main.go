// Command mutants changes the product in small ways and asks whether a test notices.
//
// It runs two kinds of mutants. The hand-made ones (handmade_*.go) are faults that would disable the wrong machine, lose a deadline or call
// something fixed that is not: every one must be killed. The drawn ones are chosen by the seed from all that points.go generates. A drawn
// mutant that no test kills must stand in equivalent.txt with the reason why it changes nothing.
//
// The last line is {"mutants":N,"killed":N,"equivalent":N,"seed":N}. Exit status: 0 no mutant survived, 1 one survived or a list does not
// fit
// the code any more, 3 the suite could not run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"
)

// drawn is how many generated mutants a seed draws.
const drawn = 40

// result is the last line.
type result struct {
	Mutants    int    `json:"mutants"`
	Killed     int    `json:"killed"`
	Equivalent int    `json:"equivalent"`
	Seed       uint64 `json:"seed"`
}

// errCannotRun says that the suite could not run, so that its result means nothing.
var errCannotRun = errors.New("the suite cannot run")

func main() {
	seed := flag.Uint64("seed", 1, "draws the generated mutants")
	kind := flag.String("kind", "all", "run only the mutants of one kind: handmade or drawn")
	only := flag.String("only", "", "run only the mutants whose name contains this text")
	cache := flag.String("cache", "", "a directory that keeps which tests reach what, by the checksum of the test binary")
	cheap := flag.Bool("cheap", false, "leave out the tests of "+slow+": what then survives may be killed by them")
	list := flag.Bool("list", false, "print the names of all generated mutants, with -kind drawn of those that the seed draws, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, options{seed: *seed, kind: *kind, only: *only, cache: *cache, cheap: *cheap, list: *list}))
}

// options are what the command line asks for.
type options struct {
	seed              uint64
	kind, only, cache string
	cheap, list       bool
}

func run(ctx context.Context, o options) int {
	start := time.Now()
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		fmt.Println(err)
		return 3
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := &suite{dir: dir, options: o, say: progress(start)}
	err = s.run(ctx)
	if errors.Is(err, errCannotRun) || ctx.Err() != nil {
		fmt.Println(err)
		return 3
	}
	for _, p := range s.problems {
		fmt.Println("problem:", p)
	}
	if !o.list {
		line, _ := json.Marshal(result{Mutants: s.mutants, Killed: s.killed, Equivalent: s.equivalent, Seed: o.seed})
		fmt.Println(string(line))
	}
	if err != nil || len(s.problems) > 0 {
		return 1
	}
	return 0
}

// progress prints lines with the seconds that have passed. Safe for concurrent use.
func progress(start time.Time) func(string, ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%5.0fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
}
