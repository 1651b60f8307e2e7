package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// packages are those whose tests are run, the cheap ones first. The tests of serve are chosen by what they reach.
var packages = []string{"internal/casework/gate", "internal/casework", "internal/flow", "internal/serve"}

// slow is the package whose tests play whole stories.
const slow = "internal/serve"

// overlay is what the go command reads in place of files.
type overlay struct{ Replace map[string]string }

// build compiles the test binary of a package with some files replaced.
func build(ctx context.Context, root, pkg, out string, replace map[string]string) error {
	text, err := json.Marshal(overlay{replace})
	if err != nil {
		return err
	}
	if err := os.WriteFile(out+".json", text, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", out+".json", "-o", out, "./"+pkg)
	cmd.Dir = root
	if msg, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the tests of %s: %w\n%s", pkg, err, msg)
	}
	return nil
}

// testBinary is a built test binary.
type testBinary struct {
	pkg, path, dir string
	rapid          bool // it draws by a seed that can be given
}

func newBinary(root, pkg, path string) (*testBinary, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return &testBinary{pkg: pkg, path: path, dir: filepath.Join(root, pkg), rapid: strings.Contains(string(text), "rapid.nofailfile")}, nil
}

// sum is the checksum of the binary.
func (b *testBinary) sum() (string, error) {
	f, err := os.Open(b.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:12]), nil
}

// tests lists the names of the tests.
func (b *testBinary) tests(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, b.path, "-test.list", "^Test")
	cmd.Dir = b.dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tests of %s: %w", b.pkg, err)
	}
	return strings.Fields(string(out)), nil
}

// outcome is what came of one run.
type outcome struct {
	failed bool
	test   string // the first that failed, "" where the process ended without saying so
	late   bool   // it was ended because it took too long
	output string // the end of it
	took   time.Duration
}

var failLine = regexp.MustCompile(`^--- FAIL: (\S+)`)

// run runs some tests, all where names is empty, and ends them at the first failure. Env is added to the environment.
func (b *testBinary) run(ctx context.Context, names []string, limit time.Duration, env ...string) (outcome, error) {
	args := []string{"-test.v", "-test.failfast", "-test.timeout", "0"}
	if len(names) > 0 {
		args = append(args, "-test.run", "^("+strings.Join(names, "|")+")$")
	}
	if b.rapid {
		args = append(args, "-rapid.seed=1", "-rapid.nofailfile")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path, args...)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what the tests start ends with them
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return outcome{}, err
	}
	cmd.Stderr = cmd.Stdout
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return outcome{}, fmt.Errorf("starting the tests of %s: %w", b.pkg, err)
	}
	var o outcome
	var tail []string
	for s := bufio.NewReader(pipe); ; {
		line, err := s.ReadString('\n')
		if tail = append(tail, line); len(tail) > 40 {
			tail = tail[1:]
		}
		if m := failLine.FindStringSubmatch(line); m != nil {
			o.failed, o.test = true, m[1]
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	o.took, o.output = time.Since(begun), strings.Join(tail, "")
	if err != nil && !o.failed {
		o.failed, o.late = true, errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	return o, nil
}

// readIDs reads the points that a run noted.
func readIDs(file string) ([]int, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []int
	for _, f := range strings.Fields(string(text)) {
		id, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, id)
	}
	return out, nil
}
