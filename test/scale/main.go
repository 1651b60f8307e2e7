// Command scale reads a real OpenStack with very many servers into a ledger: once half-way, until it is killed with SIGKILL, once more
// from the last page that was kept to the end, and then what changed since.
//
// The cloud is the one that test/cloudlab/testbed brings up, with rows that its verb bulk adds. The parent kills, counts and judges;
// each reading is a process of its own, whose memory the kernel measures.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// most is how much memory (MiB) a reading may take.
const most = 1024

// result is the last line.
type result struct {
	Servers int     `json:"servers"`
	Ports   int     `json:"ports"`
	Seconds float64 `json:"seconds"`        // of the whole reading, in both its lives, and its commit
	Asked   int     `json:"pages_asked"`    // in both lives
	Resumed int     `json:"pages_resumed"`  // that the second life did not ask for
	RSS     int     `json:"max_rss_mib"`    // of the larger process
	Recent  float64 `json:"recent_seconds"` // of what changed since, and its commit
	Changed int     `json:"recent_servers"` // that came with it
	Wrong   int     `json:"wrong"`
}

// told is one line that a child writes: a page that was kept, or, last, what came of it.
type told struct {
	Kept    int      `json:"kept,omitempty"` // rows so far
	Done    bool     `json:"done,omitempty"`
	Servers int      `json:"servers,omitempty"` // that the ledger knows after the whole reading
	Ports   int      `json:"ports,omitempty"`
	Changed int      `json:"changed,omitempty"` // servers that came as changed
	Seconds float64  `json:"seconds,omitempty"` // of reading what changed, and its commit
	Asked   int      `json:"asked,omitempty"`
	Resumed int      `json:"resumed,omitempty"`
	Wrong   []string `json:"wrong,omitempty"`
}

func main() {
	clouds := flag.String("clouds", "", "the testbed's clouds.yaml")
	entry := flag.String("entry", "admin", "which account of it reads")
	n := flag.Int("n", 100_000, "how many servers there are at least")
	flag.Parse()
	var err error
	switch dir := os.Getenv("DEMARC_SCALE_CHILD"); dir {
	case "":
		var res result
		if res, err = parent(*n); err == nil {
			line, _ := json.Marshal(res)
			fmt.Println(string(line))
			if res.Wrong > 0 {
				os.Exit(1)
			}
			return
		}
	default:
		err = child(context.Background(), dir, *clouds, *entry)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(3)
	}
}

func parent(n int) (res result, err error) {
	dir, err := os.MkdirTemp("", "demarc-scale.")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	wrong := func(format string, args ...any) {
		res.Wrong++
		fmt.Printf("WRONG: "+format+"\n", args...)
	}
	began := time.Now()
	first, err := life(dir, "full", n, &res)
	if err != nil {
		return res, err
	}
	if first.Done {
		return res, errors.New("the reading was over before it could be killed")
	}
	fmt.Printf("killed after %d rows, %.0f s\n", first.Kept, time.Since(began).Seconds())
	whole, err := life(dir, "full", math.MaxInt, &res)
	if err != nil {
		return res, err
	}
	res.Seconds = math.Round(time.Since(began).Seconds()*10) / 10
	res.Asked, res.Resumed = res.Asked+whole.Asked, whole.Resumed
	recent, err := life(dir, "recent", math.MaxInt, &res)
	if err != nil {
		return res, err
	}
	res.Servers, res.Ports, res.Changed, res.Recent = recent.Servers, recent.Ports, recent.Changed, math.Round(recent.Seconds*10)/10
	for _, w := range append(whole.Wrong, recent.Wrong...) {
		wrong("%s", w)
	}
	if res.Servers < n || res.Ports < n {
		wrong("%d servers and %d ports are known; there are %d at least", res.Servers, res.Ports, n)
	}
	if res.Resumed == 0 || !recent.Done || !whole.Done {
		wrong("nothing was gone on with: %+v, %+v", whole, recent)
	}
	if res.Changed > 100 {
		wrong("%d servers came as changed", res.Changed)
	}
	if res.RSS > most {
		wrong("%d MiB of memory, and %d are allowed", res.RSS, most)
	}
	return res, nil
}

// life starts a child, kills it once so many rows are kept, and gives the last that it told. A child that ends by itself must end well.
func life(dir, what string, rows int, res *result) (last told, err error) {
	self, err := os.Executable()
	if err != nil {
		return last, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), "DEMARC_SCALE_CHILD="+filepath.Join(dir, what))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return last, err
	}
	if err := cmd.Start(); err != nil {
		return last, err
	}
	killed, pages := false, 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var t told
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return last, fmt.Errorf("the child said %q: %w", lines.Text(), err)
		}
		if pages++; !killed || t.Done {
			last = t
		}
		if t.Kept >= rows && !killed {
			killed = true
			_ = cmd.Process.Signal(syscall.SIGKILL)
		}
	}
	_, _ = io.Copy(io.Discard, out)
	err = cmd.Wait()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		res.RSS = max(res.RSS, int(usage.Maxrss/1024)) // KiB on Linux
	}
	if killed {
		res.Asked += pages
		return last, nil
	}
	return last, err
}
