package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// reached is one test of the instrumented build: how long it takes, and which points it reaches.
type reached struct {
	Test string
	Took time.Duration
	IDs  []int
}

// cover runs every test of a binary alone and notes which points it reaches. A test that fails twice without any mutant makes the whole run
// worthless.
func (s *suite) cover(ctx context.Context, b *testBinary) ([]reached, error) {
	if kept, ok := s.kept(b); ok {
		s.say("%s: what %d tests reach is known from an earlier run", b.pkg, len(kept))
		return kept, nil
	}
	names, err := b.tests(ctx)
	if err != nil {
		return nil, err
	}
	workers := 2
	if b.pkg == slow {
		workers = 6 // most of their time they wait for peers that are silent
	}
	out := make([]reached, len(names))
	err = each(workers, len(names), func(i int) error {
		file := filepath.Join(s.dir, fmt.Sprintf("reached-%s-%d", filepath.Base(b.pkg), i))
		for try := 0; ; try++ {
			o, err := b.run(ctx, []string{names[i]}, 10*time.Minute, "DEMARC_MUTANTS_REACHED="+file)
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case o.failed && try > 0:
				return fmt.Errorf("%s of %s fails without a mutant:\n%s", names[i], b.pkg, o.output)
			case o.failed:
				continue
			}
			ids, err := readIDs(file)
			slices.Sort(ids)
			out[i] = reached{names[i], o.took, slices.Compact(ids)}
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	s.keep(b, out)
	return out, nil
}

// kept reads what an earlier run of the same binary found.
func (s *suite) kept(b *testBinary) (out []reached, ok bool) {
	sum, err := b.sum()
	if err != nil || s.cache == "" {
		return nil, false
	}
	text, err := os.ReadFile(filepath.Join(s.cache, sum+".json"))
	return out, err == nil && json.Unmarshal(text, &out) == nil
}

func (s *suite) keep(b *testBinary, rs []reached) {
	sum, err := b.sum()
	if err != nil || s.cache == "" {
		return
	}
	if text, err := json.Marshal(rs); err == nil {
		_ = os.MkdirAll(s.cache, 0o700)
		_ = os.WriteFile(filepath.Join(s.cache, sum+".json"), text, 0o600)
	}
}

// each calls do for every number below n, several at a time, and stops at the first error.
func each(workers, n int, do func(int) error) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= n || len(errs) > 0 {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range workers {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
