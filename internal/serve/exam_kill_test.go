package serve_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"demarc/internal/fault"
	"demarc/internal/serve"
	"demarc/internal/store"
)

// A process that is killed after it has written the switch file, and before it has written the ledger, leaves a pause that holds. The next
// server records it.
func TestAPauseOutlivesAKillBeforeTheLedgerIsWritten(t *testing.T) {
	t.Parallel()
	e := serving(t, "")
	r, err := e.serve()
	e.must(err)
	e.must(r.end())
	file := r.Config.SwitchPath()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestPauseAndDie$")
	cmd.Env = append(os.Environ(), "DEMARC_TEST_SWITCH="+string(file))
	err = cmd.Run()
	var died *exec.ExitError
	if !errors.As(err, &died) || died.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended with %v", err)
	}
	if paused, err := ledgerPaused(t, e.place); err != nil || paused {
		t.Fatalf("the ledger has the pause already: %t, %v", paused, err)
	}
	r, err = e.serve()
	e.must(err)
	e.checkPaused(r, true, "the pause is lost")
	if n := e.pausesRecorded(); n != 1 {
		t.Errorf("%d audit entries", n)
	}
	e.must(r.end())
	if paused, err := ledgerPaused(t, e.place); err != nil || !paused {
		t.Errorf("the ledger: %t, %v", paused, err)
	}
}

func ledgerPaused(t *testing.T, place string) (bool, error) {
	t.Helper()
	d, err := store.OpenReader(t.Context(), place)
	if err != nil {
		return false, err
	}
	defer d.Close() //nolint:errcheck // it was only read
	return d.PausedInLedger(t.Context())
}

// TestPauseAndDie is the process that is killed.
func TestPauseAndDie(t *testing.T) {
	file := os.Getenv("DEMARC_TEST_SWITCH")
	if file == "" {
		t.Skip("this is the other process of TestAPauseOutlivesAKillBeforeTheLedgerIsWritten")
	}
	if err := store.SwitchFile(file).Throw(store.NewPause("olga", "a bad check")); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// A switch file that cannot be written leaves the ledger to keep a pause. Where neither can, the server stays paused and says that a
// restart would not know.
func TestAPauseHoldsWhereTheSwitchFileCannotBeWritten(t *testing.T) {
	t.Parallel()
	e, file := onFile(t, "")
	r, err := e.serve()
	e.must(err)
	path := string(r.Config.SwitchPath())
	e.must(os.Remove(path))
	e.must(os.Mkdir(path, 0o700))
	if told := e.soon(r); told.Unrecorded != "" {
		t.Errorf("the ledger was not written: %s", told.Unrecorded)
	}
	if paused, err := r.DB.PausedInLedger(t.Context()); err != nil || !paused {
		t.Errorf("the ledger: %t, %v", paused, err)
	}
	e.must(os.Remove(path))
	e.resume(r)
	e.must(os.Remove(path))
	e.must(os.Mkdir(path, 0o700))
	free := e.full(file)
	told, err := serve.AskServer(t.Context(), r.sock, serve.Ask{Do: serve.Pause, Why: "a bad check"})
	if !fault.Is(err, fault.Unavailable) || told.Paused {
		t.Errorf("%+v, %v", told, err)
	}
	e.must(os.Remove(path))
	e.must(r.Config.SwitchPath().Create(false)) // a file that is put there does not end the pause of this process
	e.checkPaused(r, true, "the server is not paused")
	free()
	e.wait("the audit entry", func() bool { return e.pausesRecordedIn(file) == 2 })
	e.must(r.end())
}
