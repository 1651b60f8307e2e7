package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// suite is one run.
type suite struct {
	options
	dir, root string
	say       func(string, ...any)

	mu                          sync.Mutex
	mutants, killed, equivalent int
	problems                    []string
}

// atOnce is how many mutants are run at a time.
const atOnce = 2

func (s *suite) run(ctx context.Context) error {
	var err error
	if s.root, err = os.Getwd(); err != nil {
		return errors.Join(errCannotRun, err)
	}
	sources, points, err := s.generate()
	if err != nil {
		return errors.Join(errCannotRun, err)
	}
	if s.list {
		if s.kind == "drawn" {
			points = draw(points, s.seed, drawn)
		}
		for _, p := range points {
			fmt.Println(p.name)
		}
		return nil
	}
	listed, err := equivalents(equivalentText)
	if err != nil {
		return err
	}
	for name := range listed {
		if !slices.ContainsFunc(points, func(p point) bool { return p.name == name }) {
			s.problem("equivalent.txt names a mutant that does not exist any more: %s", name)
		}
	}
	if s.kind != "drawn" {
		if err := s.runHandmade(ctx); err != nil {
			return err
		}
	}
	if s.kind != "handmade" {
		return s.runDrawn(ctx, sources, points, listed)
	}
	return nil
}

// generate reads the files and numbers the points, from 1.
func (s *suite) generate() ([]*source, []point, error) {
	var sources []*source
	var points []point
	for _, f := range files {
		src, err := generate(s.root, f, len(points)+1)
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, src)
		points = append(points, src.points...)
	}
	return sources, points, nil
}

func (s *suite) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *suite) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

// runHandmade builds the tests once for each hand-made mutant, and runs the test that is expected to kill it, then the others.
func (s *suite) runHandmade(ctx context.Context) error {
	list := slices.DeleteFunc(allHandmade(), func(h handmade) bool { return !strings.Contains(h.name(), s.only) })
	s.say("%d hand-made mutants", len(list))
	return each(atOnce, len(list), func(i int) error {
		h := list[i]
		s.count(&s.mutants)
		by, err := s.killHandmade(ctx, i, h)
		switch {
		case ctx.Err() != nil:
			return errors.Join(errCannotRun, ctx.Err())
		case err != nil:
			s.problem("%s: %v", h.name(), err)
		case by == "":
			s.problem("hand-made mutant survives: %s: %s", h.name(), h.why)
			s.say("SURVIVES  %s", h.name())
		default:
			s.count(&s.killed)
			s.say("killed    %s  by %s", h.name(), by)
		}
		return nil
	})
}

// killHandmade tells which test kills a mutant, "" where none does.
func (s *suite) killHandmade(ctx context.Context, i int, h handmade) (string, error) {
	text, err := h.mutated(s.root)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, fmt.Sprintf("handmade-%d.go", i))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	replace := map[string]string{filepath.Join(s.root, h.file): file}
	order := append([]string{h.pkg()}, slices.DeleteFunc(slices.Clone(packages), func(p string) bool { return p == h.pkg() })...)
	for n, pkg := range order {
		if s.cheap && pkg == slow {
			continue
		}
		path := filepath.Join(s.dir, fmt.Sprintf("handmade-%d.test", i))
		if err := build(ctx, s.root, pkg, path, replace); err != nil {
			return "", err
		}
		b, err := newBinary(s.root, pkg, path)
		if err != nil {
			return "", err
		}
		runs := [][]string{nil}
		if n == 0 {
			runs = [][]string{{h.run()}, nil}
		}
		for _, names := range runs {
			by, err := s.kills(ctx, b, names, 5*time.Minute)
			if by != "" || err != nil {
				_ = os.Remove(path)
				return by, err
			}
		}
		if n == 0 {
			s.say("%s does not kill %s; the others are tried", h.test, h.name())
		}
	}
	return "", nil
}

// kills runs tests against a mutant and tells which one fails, "" where none does. A failure counts when it happens twice: a test that
// fails now and then kills nothing.
func (s *suite) kills(ctx context.Context, b *testBinary, names []string, limit time.Duration, env ...string) (string, error) {
	for {
		o, err := b.run(ctx, names, limit, env...)
		switch {
		case err != nil:
			return "", err
		case o.late:
			return "a run that does not end", nil
		case !o.failed:
			return "", nil
		case o.test == "" && strings.Contains(o.output, "no tests to run"):
			return "", fmt.Errorf("no such test: %v", names)
		case o.test == "":
			return "a panic", nil
		}
		again, err := b.run(ctx, []string{o.test}, limit, env...)
		if err != nil {
			return "", err
		}
		if again.failed {
			return o.test, nil
		}
		s.say("%s fails now and then", o.test)
		if names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == o.test }); len(names) == 0 {
			return "", nil
		}
	}
}

// runDrawn builds the instrumented tests once and runs the mutants that the seed draws.
func (s *suite) runDrawn(ctx context.Context, sources []*source, points []point, listed map[string]string) error {
	tests, err := s.instrumented(ctx, sources, points)
	if err != nil {
		return errors.Join(errCannotRun, err)
	}
	list := slices.DeleteFunc(draw(points, s.seed, drawn), func(p point) bool { return !strings.Contains(p.name, s.only) })
	s.say("%d of %d generated mutants", len(list), len(points))
	err = each(atOnce, len(list), func(i int) error {
		p := list[i]
		s.count(&s.mutants)
		why, known := listed[p.name]
		by, err := s.killDrawn(ctx, p, tests, known)
		switch {
		case err != nil:
			return err
		case by != "" && known:
			s.problem("equivalent.txt lists a mutant that %s kills: %s", by, p.name)
		case by != "":
			s.count(&s.killed)
			s.say("killed    %s  by %s", p.name, by)
		case known:
			s.count(&s.equivalent)
			s.say("changes nothing  %s: %s", p.name, why)
		default:
			s.problem("mutant survives: %s (%s:%d)", p.name, p.file, p.line)
			s.say("SURVIVES  %s", p.name)
		}
		return ctx.Err()
	})
	if err != nil {
		return errors.Join(errCannotRun, err)
	}
	return nil
}

// tested is a binary with what its tests reach.
type tested struct {
	*testBinary
	tests []reached
}

// instrumented builds the tests of every package with the mutants in them, and learns what each test reaches.
func (s *suite) instrumented(ctx context.Context, sources []*source, points []point) ([]tested, error) {
	replace := map[string]string{}
	for i, src := range sources {
		to := filepath.Join(s.dir, fmt.Sprintf("source-%d.go", i))
		if err := os.WriteFile(to, src.rewritten(), 0o600); err != nil {
			return nil, err
		}
		replace[filepath.Join(s.root, src.file)] = to
		dir := filepath.Dir(src.file)
		help := filepath.Join(s.dir, filepath.Base(dir)+"-helper.go")
		if err := os.WriteFile(help, []byte(helper(filepath.Base(dir), len(points))), 0o600); err != nil {
			return nil, err
		}
		replace[filepath.Join(s.root, dir, "zz_mutants.go")] = help
	}
	var out []tested
	for _, pkg := range packages {
		if s.cheap && pkg == slow {
			continue
		}
		path := filepath.Join(s.dir, filepath.Base(pkg)+".test")
		if err := build(ctx, s.root, pkg, path, replace); err != nil {
			return nil, err
		}
		b, err := newBinary(s.root, pkg, path)
		if err != nil {
			return nil, err
		}
		rs, err := s.cover(ctx, b)
		if err != nil {
			return nil, err
		}
		s.say("%s: %d tests", pkg, len(rs))
		out = append(out, tested{b, rs})
	}
	return out, nil
}

// killDrawn tells which test kills a mutant, "" where none does. Of a mutant that is known to change nothing only the cheap tests are
// asked.
func (s *suite) killDrawn(ctx context.Context, p point, bins []tested, known bool) (string, error) {
	for _, b := range bins {
		if known && b.pkg == slow {
			continue
		}
		for _, batch := range batches(b, p.id) {
			var took time.Duration
			var names []string
			for _, r := range batch {
				took += r.Took
				names = append(names, r.Test)
			}
			by, err := s.kills(ctx, b.testBinary, names, max(time.Minute, 5*took), "DEMARC_MUTANT="+strconv.Itoa(p.id))
			if by != "" || err != nil {
				return by, err
			}
		}
	}
	return "", nil
}

// batches are the tests that reach a point, the fastest first. Those of the slow package come in several runs, so that a mutant which many
// tests notice does not cost them all.
func batches(b tested, id int) [][]reached {
	var rs []reached
	for _, r := range b.tests {
		if _, in := slices.BinarySearch(r.IDs, id); in {
			rs = append(rs, r)
		}
	}
	slices.SortStableFunc(rs, func(a, b reached) int { return cmp.Compare(a.Took, b.Took) })
	if len(rs) == 0 {
		return nil
	}
	if b.pkg != slow {
		return [][]reached{rs}
	}
	var out [][]reached
	for n := 6; len(rs) > 0; n *= 2 {
		n = min(n, len(rs))
		out = append(out, rs[:n])
		rs = rs[n:]
	}
	return out
}
