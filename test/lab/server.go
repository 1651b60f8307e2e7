package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"demarc/internal/policy"
)

// event is one line of the server's log.
type event struct {
	Msg    string `json:"msg"`
	Level  string `json:"level"`
	Case   string `json:"case"`
	Server string `json:"server"`
	Detail string `json:"detail"`
	MailTo string `json:"mail_to"`
	Check  string `json:"check"`
	Act    string `json:"cloud_action"`
	Err    string `json:"err"`
}

// server is one process of demarc serve.
type server struct {
	cmd    *exec.Cmd
	events chan event
	done   chan error
	mu     sync.Mutex
	tail   []string // the last lines of its log
	killed bool
	early  []event // what it said before it served
	log    *os.File
}

// start runs demarc serve and waits until it says that it serves.
func (e *exam) start() (*server, error) {
	s := &server{cmd: exec.Command(e.program, "serve", "--config", e.config, "--log", "json"), events: make(chan event, 10_000), done: make(chan error, 1)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive us
	out, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if s.log, err = os.OpenFile(filepath.Join(e.dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go s.listen(out)
	for {
		select {
		case ev, ok := <-s.events:
			if !ok {
				return nil, errors.Join(errors.New("demarc serve ended at once"), <-s.done, s.lastWords())
			}
			s.early = append(s.early, ev)
			if ev.Msg == "serving" {
				return s, nil
			}
		case <-time.After(30 * time.Second):
			s.kill()
			return nil, errors.Join(errors.New("demarc serve does not serve"), s.lastWords())
		}
	}
}

func (s *server) listen(out io.Reader) {
	log := bufio.NewScanner(out)
	log.Buffer(nil, 1<<20)
	for log.Scan() {
		_, _ = fmt.Fprintln(s.log, log.Text())
		s.mu.Lock()
		s.tail = append(s.tail, log.Text())
		s.tail = s.tail[max(0, len(s.tail)-40):]
		s.mu.Unlock()
		var ev event
		if json.Unmarshal(log.Bytes(), &ev) == nil {
			s.events <- ev
		}
	}
	_ = s.log.Close()
	s.done <- s.cmd.Wait()
	close(s.events)
}

func (s *server) lastWords() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.New("its log ends:\n" + strings.Join(s.tail, "\n"))
}

// kill ends the process as a power cut would.
func (s *server) kill() {
	if s == nil || s.killed {
		return
	}
	s.killed = true
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	for range s.events { // what it said to the last is read, and forgotten
	}
}

const configText = `database: demarc.db
policy: policy.yaml
mode: enforce
policy_url: https://probing.cloud.example/
cloud: {name: lab, clouds_file: %[1]s, clouds_entry: demarc-inventory}
enforcement: {clouds_file: %[1]s, clouds_entry: demarc-enforce}
netblocks:
  - {cidr: 203.0.113.0/24, holder: provider, zones: [internet, institution]}
vantages:
  - {name: internet, zone: internet, sources: [198.51.100.10], namespace: %[2]s-internet, bind: true, connect_timeout: 700ms, host_rate: 100}
mail: {host: %[3]s, port: %[4]s, tls: none, from: demarc@cloud.example, provider: platform@cloud.example, operators: operators@cloud.example}
quarantine:
  name: demarc-quarantine
  admit: [{cidr: 172.28.5.5/32, proto: tcp, port: 22, purpose: "repair path: the operators' bastion"}]
sample: {wide: 16, control: 800}
health: 127.0.0.1:%[5]d
clock: {rate: %[6]d}
`

// rate is how fast policy time runs while the server waits: two hours in a second.
const rate = 7200

func (e *exam) writeConfig(clouds string) error {
	host, port, err := net.SplitHostPort(e.box.Addr())
	if err != nil {
		return err
	}
	health, err := freePort()
	if err != nil {
		return err
	}
	prefix := os.Getenv("CLOUDLAB_PREFIX")
	if prefix == "" {
		prefix = "cloudlab"
	}
	text := string(policy.DefaultYAML())
	for old, wanted := range map[string]string{
		"sweep_every: 1d":      "sweep_every: 2d",
		"inventory_every: 60s": "inventory_every: 6h",
		"recent_every: 60s":    "recent_every: 6h",
		"posture: [":           "posture: [] # [", // the stories are about what answers
	} {
		if !strings.Contains(text, old) {
			return fmt.Errorf("%q is not in the default policy", old)
		}
		text = strings.Replace(text, old, wanted, 1)
	}
	return errors.Join(os.WriteFile(filepath.Join(e.dir, "policy.yaml"), []byte(text), 0o600),
		os.WriteFile(e.config, fmt.Appendf(nil, configText, clouds, prefix, host, port, health, rate), 0o600))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close() //nolint:errcheck // it was only asked for a number
	return l.Addr().(*net.TCPAddr).Port, nil
}

// demarc runs a command of the program with the configuration.
func (e *exam) demarc(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, e.program, append(slices.Clone(args), "--config", e.config)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("demarc %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}
