// Command lab tells the line's stories on a real OpenStack, through the program as an operator runs it.
//
// The cloud is the one that test/cloudlab brings up with the scenario stories. demarc serve runs as a process of its own, reads
// the cloud with one application credential and acts with another; policy time is compressed. People act as people do: owners
// by the cloud's API and on their machines, operators by demarc's commands. What is asserted is asked of the cloud and of the
// network, not of Demarc.
//
// With the argument fight it plays the scenario fight instead: tenants who undo, evade and provoke enforcement, while the server is
// killed at its actions and its policy and people change.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"demarc/internal/lab"
)

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "dial" || os.Args[1] == "talk") {
		os.Exit(witness(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 45*time.Minute) // it ends a run that hangs, and measures nothing
	defer cancel()
	if len(os.Args) > 1 && os.Args[1] == "fight" {
		t, err := fight(ctx)
		finish(t, t.Wrong, err)
	}
	t, err := run(ctx)
	finish(t, t.Wrong, err)
}

// finish prints the last line and ends the program: 0 fine, 1 something is wrong, 3 the check could not run.
func finish(t any, wrong int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(3)
	}
	line, err := json.Marshal(t)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(3)
	}
	fmt.Println(string(line))
	if wrong > 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

// stories are those of the demo that the scenario has the machines for; each is asserted in judge.go or on its way.
var stories = []string{"a: quarantined, killed in the act, put back, released", "b: fixed after the first mail", "d: hides from the scanner", "e: a filter that leaks, a group that obeys",
	"f: an address that moves", "g: a batch over budget"}

// tally is the last line.
type tally struct {
	Stories    int     `json:"stories"`
	Assertions int     `json:"assertions"`
	Wrong      int     `json:"wrong"`
	Mails      int     `json:"mails"`
	Acts       int     `json:"acts"`
	Restarts   int     `json:"restarts"`
	Seconds    float64 `json:"seconds"`
}

// exam is one run.
type exam struct {
	dir, program, config string
	testbed              string
	box                  *lab.Mailbox
	admin                *api
	owners               map[string]*api
	server               *server
	heard                []event
	asserted             int
	wrong                []string
	ids                  map[string]string   // of servers, by name
	before               map[string]port     // every port as it was when the stories began
	actions              map[string][]string // and what Nova remembered of each server, by name
	began                time.Time
	restarts             int
}

// must asserts one thing.
func (e *exam) must(ok bool, format string, args ...any) {
	e.asserted++
	if ok {
		return
	}
	e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
	fmt.Println("WRONG:", e.wrong[len(e.wrong)-1])
}

func (e *exam) say(format string, args ...any) {
	fmt.Printf("%5.1f s  %s\n", time.Since(e.began).Seconds(), fmt.Sprintf(format, args...))
}

func run(ctx context.Context) (t tally, err error) {
	clouds, bed := os.Getenv("DEMARC_CLOUDS"), os.Getenv("DEMARC_TESTBED")
	if clouds == "" || bed == "" {
		return t, errors.New("run this by make lab: it needs DEMARC_CLOUDS and DEMARC_TESTBED")
	}
	dir, err := os.MkdirTemp("", "demarc-lab-")
	if err != nil {
		return t, err
	}
	e := &exam{dir: dir, testbed: bed, config: filepath.Join(dir, "demarc.yaml"), program: filepath.Join(dir, "demarc"), began: time.Now(), owners: map[string]*api{}}
	defer func() {
		if len(e.wrong) == 0 && err == nil {
			err = os.RemoveAll(dir)
			return
		}
		fmt.Fprintln(os.Stderr, "lab: what is left to look at:", dir)
	}()
	if e.box, err = lab.NewMailbox("127.0.0.1:0"); err != nil {
		return t, fmt.Errorf("starting the mailbox: %w", err)
	}
	defer e.box.Close()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", e.program, "./cmd/demarc").CombinedOutput(); err != nil {
		return t, fmt.Errorf("building demarc: %w: %s", err, out)
	}
	if err := e.meet(ctx, clouds); err != nil {
		return t, err
	}
	defer e.undo(context.WithoutCancel(ctx))
	if err := e.writeConfig(clouds); err != nil {
		return t, err
	}
	if e.server, err = e.start(); err != nil {
		return t, err
	}
	defer func() { e.server.kill() }()
	if _, err := e.demarc(ctx, "mode", "set", "enforce", "--reason", "the stories need it"); err != nil {
		return t, err
	}
	if err := e.tell(ctx); err != nil {
		return t, errors.Join(err, e.server.lastWords())
	}
	e.doctor(ctx, "after")
	if err := e.end(ctx); err != nil {
		return t, err
	}
	acts, err := e.judge(ctx)
	return tally{Stories: len(stories), Assertions: e.asserted, Wrong: len(e.wrong), Mails: len(e.box.Messages()), Acts: acts, Restarts: e.restarts, Seconds: time.Since(e.began).Round(100 * time.Millisecond).Seconds()}, err
}
