package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// first are the packages that read what tenants and strangers write. They run before the others.
var first = []string{"internal/detect", "internal/detect/service", "internal/cloud/openstack", "internal/web", "internal/post", "internal/store", "internal/untrusted", "internal/casework/notice", "internal/serve"}

// testPackage is a package that has fuzz targets.
type testPackage struct {
	ImportPath   string
	Dir          string
	Module       struct{ Path string }
	TestGoFiles  []string
	XTestGoFiles []string

	targets []string
	binary  string
}

// listed finds the packages with targets that only matches, in the order in which they run. It reads the source, because
// go test -list would link the tests of every package.
func listed(ctx context.Context, only *regexp.Regexp) ([]*testPackage, error) {
	out, err := goCommand(ctx, "list", "-json=ImportPath,Dir,Module,TestGoFiles,XTestGoFiles", "./...")
	if err != nil {
		return nil, err
	}
	var ps []*testPackage
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		p := &testPackage{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if err := p.findTargets(only); err != nil {
			return nil, err
		}
		if len(p.targets) > 0 {
			ps = append(ps, p)
		}
	}
	slices.SortStableFunc(ps, func(a, b *testPackage) int { return cmp.Compare(a.rank(), b.rank()) })
	return ps, nil
}

var targetFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

func (p *testPackage) findTargets(only *regexp.Regexp) error {
	for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		text, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			return err
		}
		for _, m := range targetFunc.FindAllSubmatch(text, -1) {
			if name := string(m[1]); only.MatchString(p.path() + "." + name) {
				p.targets = append(p.targets, name)
			}
		}
	}
	return nil
}

// path is the import path below the module's.
func (p *testPackage) path() string { return strings.TrimPrefix(p.ImportPath, p.Module.Path+"/") }

func (p *testPackage) rank() int {
	if i := slices.Index(first, p.path()); i >= 0 {
		return i
	}
	return len(first)
}

// build compiles the tests with the instrumentation that fuzzing needs, once for all targets of the package.
func (p *testPackage) build(ctx context.Context, dir string) error {
	p.binary = filepath.Join(dir, strings.ReplaceAll(p.path(), "/", "-")+".test")
	_, err := goCommand(ctx, "test", "-c", "-vet=off", "-fuzz=.", "-o", p.binary, p.ImportPath)
	return err
}

// cacheDir is where the go command keeps the inputs that reached new code, so that a run goes on from the one before.
func cacheDir(ctx context.Context) (string, error) {
	out, err := goCommand(ctx, "env", "GOCACHE")
	return filepath.Join(strings.TrimSpace(out), "fuzz"), err
}

func goCommand(ctx context.Context, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}
