package main

import "fmt"

// helper is the source of the functions that the rewritten files of a package call. Each acts as the code that it stands for, unless it is
// asked for the mutant that is switched on. The environment says which that is, and where to note what was reached.
func helper(pkg string, last int) string {
	return fmt.Sprintf(helperText, pkg, last+1)
}

const helperText = `package %s

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

var (
	mutantOn, _   = strconv.Atoi(os.Getenv("DEMARC_MUTANT"))
	mutantFile    = os.Getenv("DEMARC_MUTANTS_REACHED")
	mutantReached [%d]atomic.Bool
	mutantMu      sync.Mutex
)

func mutant(id int) bool {
	if mutantFile != "" && !mutantReached[id].Swap(true) {
		mutantMu.Lock()
		defer mutantMu.Unlock()
		f, err := os.OpenFile(mutantFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, id)
		if err := f.Close(); err != nil {
			panic(err)
		}
	}
	return id == mutantOn
}

type mutantNumber interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float64
}

func mutantNever(id int, c bool) bool { return !mutant(id) && c }
func mutantNot(id int, c bool) bool   { return c != mutant(id) }

func mutantLess[T cmp.Ordered](id int, a, b T) bool {
	if mutant(id) {
		return a <= b
	}
	return a < b
}

func mutantAtMost[T cmp.Ordered](id int, a, b T) bool {
	if mutant(id) {
		return a < b
	}
	return a <= b
}

func mutantMore[T cmp.Ordered](id int, a, b T) bool {
	if mutant(id) {
		return a >= b
	}
	return a > b
}

func mutantAtLeast[T cmp.Ordered](id int, a, b T) bool {
	if mutant(id) {
		return a > b
	}
	return a >= b
}

func mutantEqual[T mutantNumber](id int, a, b T) bool {
	if mutant(id) {
		b++
	}
	return a == b
}

func mutantDiffers[T mutantNumber](id int, a, b T) bool {
	if mutant(id) {
		b++
	}
	return a != b
}
`
