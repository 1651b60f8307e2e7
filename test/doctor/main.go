// Command doctor runs demarc doctor on a real OpenStack, where all is well and where something is not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"demarc/internal/asset"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
	"demarc/internal/store"
)

func main() {
	program := flag.String("program", "", "the demarc to run")
	clouds := flag.String("clouds", "", "clouds.yaml of the test cloud")
	prefix := flag.String("prefix", "cloudlab", "of the test cloud's network namespaces")
	flag.Parse()
	failed, err := run(context.Background(), *program, *clouds, *prefix)
	if err != nil {
		fmt.Println("could not look:", err)
		os.Exit(3)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// ward is a folder with the files of a Demarc on the test cloud.
type ward struct {
	program, clouds, prefix, dir string
	box, refuses                 *lab.Mailbox
	secrets                      []string
}

// patient is one configuration, and what must be found.
type patient struct {
	name     string
	pairs    []string // of old and new text in the configuration
	through  []string // what the program is run under
	refusing bool     // the relay takes no mail for the operators
	exit     int
	codes    []string
}

const configText = `database: store/demarc.db
mode: enforce
policy_url: https://probing.cloud.example/
cloud: {name: lab, clouds_file: %[1]s, clouds_entry: demarc-inventory}
enforcement: {clouds_file: %[1]s, clouds_entry: demarc-enforce}
netblocks: [{cidr: 203.0.113.0/24, holder: provider, zones: [internet]}]
vantages: [{name: internet, zone: internet, sources: [198.51.100.10], namespace: %[2]s-internet, bind: true}]
mail: {host: %[3]s, port: %[4]s, tls: none, from: demarc@cloud.example, provider: platform@cloud.example, operators: operators@cloud.example}
`

func run(ctx context.Context, program, clouds, prefix string) (failed int, err error) {
	began := time.Now()
	w := &ward{program: program, clouds: clouds, prefix: prefix}
	if w.dir, err = os.MkdirTemp("", "demarc-doctor"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(w.dir) //nolint:errcheck // a folder of our own
	if w.box, err = lab.NewMailbox("127.0.0.1:0"); err != nil {
		return 0, err
	}
	defer w.box.Close()
	if w.refuses, err = lab.NewMailbox("127.0.0.1:0"); err != nil {
		return 0, err
	}
	defer w.refuses.Close()
	w.refuses.Fault(lab.MailFaults{RcptPermanent: map[string]bool{"operators@cloud.example": true}})
	authURL, err := w.learn()
	if err != nil {
		return 0, err
	}
	roadless := prefix + "-roadless"
	if err := makeRoadless(ctx, roadless); err != nil {
		return 0, err
	}
	defer exec.CommandContext(context.WithoutCancel(ctx), "ip", "netns", "del", roadless).Run() //nolint:errcheck // it may be gone
	before, err := w.cloud(ctx)
	if err != nil {
		return 0, err
	}
	patients := w.patients(authURL, roadless)
	failed = w.all(ctx, patients)
	after, err := w.cloud(ctx)
	if err != nil {
		return 0, err
	}
	if after != before || len(w.box.Messages())+len(w.refuses.Messages()) > 0 {
		failed++
		fmt.Println("  WRONG  looking changed the cloud, or sent mail")
	}
	fmt.Printf(`{"suite":"doctor","patients":%d,"failed":%d,"seconds":%.0f}`+"\n", len(patients), failed, time.Since(began).Seconds())
	return failed, nil
}

// all examines the patients, some at once, and tells of each.
func (w *ward) all(ctx context.Context, patients []patient) (failed int) {
	var mu sync.Mutex
	var each sync.WaitGroup
	slots := make(chan struct{}, 3)
	for _, p := range patients {
		slots <- struct{}{}
		each.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			err := w.examine(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
				fmt.Printf("  WRONG  %s: %v\n", p.name, err)
				return
			}
			fmt.Printf("  held   %s (%.1f s)\n", p.name, time.Since(began).Seconds())
		})
	}
	each.Wait()
	return failed
}

// learn reads where Keystone is and which secrets must never be told, and makes a database that a server has used.
func (w *ward) learn() (authURL string, err error) {
	data, err := os.ReadFile(w.clouds)
	if err != nil {
		return "", err
	}
	var file struct {
		Clouds map[string]struct{ Auth map[string]any }
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return "", err
	}
	for _, c := range file.Clouds {
		if s, ok := c.Auth["application_credential_secret"].(string); ok {
			w.secrets = append(w.secrets, s)
		}
	}
	authURL, _ = file.Clouds["reader"].Auth["auth_url"].(string)
	if authURL == "" || len(w.secrets) < 3 {
		return "", errors.New("the clouds.yaml is not that of the test cloud")
	}
	w.secrets = append(w.secrets, "canary")
	if err := errors.Join(os.Mkdir(filepath.Join(w.dir, "store"), 0o700), os.WriteFile(filepath.Join(w.dir, "wrong"), []byte("canary\n"), 0o600)); err != nil {
		return "", err
	}
	db, err := store.Open(context.Background(), filepath.Join(w.dir, "store", "demarc.db"))
	if err != nil {
		return "", err
	}
	return authURL, db.Close()
}

// makeRoadless makes a network namespace that has the source address and leads nowhere.
func makeRoadless(ctx context.Context, name string) error {
	for _, line := range []string{"netns add " + name, "-n " + name + " link set lo up", "-n " + name + " address add 198.51.100.10/32 dev lo"} {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}

func (w *ward) patients(authURL, roadless string) []patient {
	entry := func(name string) []string { return []string{"clouds_entry: demarc-inventory", "clouds_entry: " + name} }
	account := fmt.Sprintf("clouds_file: %s, clouds_entry: demarc-inventory", w.clouds)
	folder := filepath.Join(w.dir, "store")
	return []patient{
		{name: "all is well", exit: 0, codes: []string{"cloud-account", "cloud-coverage", "enforcement-account", "clock", "vantage", "mail", "database"}},
		{name: "a reader alone", pairs: entry("reader"), exit: 3, codes: []string{"cloud-reader-only", "cloud-silent-empty", "cloud-partial"}},
		{name: "roles in each project", pairs: entry("auditor"), exit: 3, codes: []string{"cloud-per-project", "cloud-silent-empty"}},
		{name: "a credential past its date", pairs: entry("demarc-expired"), exit: 3, codes: []string{"cloud-credential-refused"}},
		{name: "a wrong password", pairs: []string{account, "auth_url: '" + authURL + "', username: reader, password_file: wrong, project: security"}, exit: 3, codes: []string{"cloud-credential-refused"}},
		{name: "an account for acts that may not act", pairs: []string{"clouds_entry: demarc-enforce", "clouds_entry: enforcer"}, exit: 3, codes: []string{"enforcement-no-admin"}},
		{name: "a vantage point without a route", pairs: []string{w.prefix + "-internet", roadless}, exit: 3, codes: []string{"vantage-no-route"}},
		{name: "a database on a disk mounted for reading", through: []string{"unshare", "-m", "sh", "-c", "mount --bind " + folder + " " + folder + " && mount -o remount,ro,bind " + folder + ` && exec "$0" "$@"`}, exit: 3,
			codes: []string{"database-read-only", "audit-heads-unwritable", "kill-switch-unusable"}},
		{name: "mail refused", refusing: true, exit: 3, codes: []string{"mail-refused"}},
	}
}

// examine runs the program once and holds what it says against what must be found.
func (w *ward) examine(ctx context.Context, p patient) error {
	box := w.box
	if p.refusing {
		box = w.refuses
	}
	host, port, err := net.SplitHostPort(box.Addr())
	if err != nil {
		return err
	}
	text := fmt.Sprintf(configText, w.clouds, w.prefix, host, port)
	for i := 0; i+1 < len(p.pairs); i += 2 {
		if !strings.Contains(text, p.pairs[i]) {
			return fmt.Errorf("%q is not in the configuration", p.pairs[i])
		}
		text = strings.ReplaceAll(text, p.pairs[i], p.pairs[i+1])
	}
	config := filepath.Join(w.dir, strings.ReplaceAll(p.name, " ", "-")+".yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	args := append(slices.Clone(p.through), w.program, "doctor", "--config", config, "--output", "json")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	return w.judge(p, cmd.ProcessState.ExitCode(), said.String(), errs.String())
}

func (w *ward) judge(p patient, exit int, said, errs string) error {
	for _, s := range w.secrets {
		if strings.Contains(said+errs, s) {
			return errors.New("a secret is told")
		}
	}
	var rows []struct{ State, Code, What, Remedy string }
	if err := json.Unmarshal([]byte(said), &rows); err != nil {
		return fmt.Errorf("%w: %s%s", err, said, errs)
	}
	var broken, have []string
	for _, r := range rows {
		have = append(have, r.Code)
		if r.State == "fail" {
			broken = append(broken, r.Code+": "+r.What)
			if r.Remedy == "" || !slices.Contains(p.codes, r.Code) {
				return fmt.Errorf("%s without a remedy, or where nothing is wrong: %s", r.Code, r.What)
			}
		}
	}
	for _, c := range p.codes {
		if !slices.Contains(have, c) {
			return fmt.Errorf("%s is not told: %v", c, have)
		}
	}
	if exit != p.exit {
		return fmt.Errorf("it ended with %d, not %d: %v %s", exit, p.exit, broken, errs)
	}
	return nil
}

// cloud is what the cloud holds, as an administrator sees it.
func (w *ward) cloud(ctx context.Context) (string, error) {
	conf, err := openstack.FromCloudsYAML(w.clouds, "admin")
	if err != nil {
		return "", err
	}
	c, err := openstack.Connect(ctx, conf)
	if err != nil {
		return "", err
	}
	defer c.Close()
	s, err := c.Snapshot(ctx, func() int64 { return 0 })
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(struct {
		Servers []asset.Server
		Ports   []asset.Port
		Groups  []asset.Group
		IPs     []asset.FloatingIP
	}{s.Servers, s.Ports, s.Groups, s.FloatingIPs})
	return string(b), err
}
