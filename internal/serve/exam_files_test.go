package serve_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/fault"
	"demarc/internal/serve"
)

// The doctor warns of secrets that other accounts can read or replace.
func TestDoctorLooksAtWhoMayReadSecrets(t *testing.T) {
	t.Parallel()
	e := ward(t, plot{})
	secret := filepath.Join(e.dir, "cloud.secret")
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: false, 0o644: true, 0o604: true, 0o660: true, 0o602: true} {
		e.must(os.Chmod(secret, mode))
		all, bad := e.doctor()
		row, is := bad[serve.SecretsReadable]
		if is != warned || is && (row.State != serve.Doubted || !strings.Contains(row.What, fmt.Sprintf("%04o", mode)) || !strings.Contains(row.What, secret)) {
			t.Errorf("mode %04o: %+v", mode, row)
		}
		for _, r := range all {
			if strings.Contains(r.What+r.Remedy, e.plot.password) {
				t.Errorf("the secret is told: %+v", r)
			}
		}
	}
}

// An approver that the machine does not know hides nothing else from the doctor, and all of them are named.
func TestDoctorGoesOnBehindAnUnknownApprover(t *testing.T) {
	t.Parallel()
	e := ward(t, plot{config: []string{"netblocks:", "approvers: [root, olga-is-not-here, carol-neither]\nnetblocks:"}})
	all, bad := e.doctor()
	unknown, others := 0, 0
	for _, r := range all {
		if r.Code == serve.ApproverUnknown {
			unknown++
		} else if r.Subject == "mail" || r.Subject == "cloud" {
			others++
		}
	}
	if unknown != 2 || others < 2 || bad[serve.ApproverUnknown].State != serve.Broken {
		t.Errorf("%d unknown approvers, %d other rows: %+v", unknown, others, bad)
	}
	_, _, err := serve.Load(filepath.Join(e.dir, "demarc.yaml"))
	if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), "olga-is-not-here") || !strings.Contains(err.Error(), "carol-neither") {
		t.Errorf("serve: %v", err)
	}
}

// A configuration, a secret and a file of netblocks that an editor on Windows saved are read as they are meant.
func TestFilesFromAnEditorOnWindows(t *testing.T) {
	t.Parallel()
	e := ward(t, plot{})
	for _, name := range []string{"demarc.yaml", "policy.yaml", "cloud.secret"} {
		path := filepath.Join(e.dir, name)
		b, err := os.ReadFile(path)
		e.must(err)
		e.must(os.WriteFile(path, []byte("\ufeff"+strings.ReplaceAll(string(b), "\n", "\r\n")), 0o600))
	}
	if _, bad := e.doctor(); len(bad) > 0 {
		for code, r := range bad {
			if code != serve.ClockUnsync && code != serve.EnforceOne && code != serve.CloudCanChange {
				t.Errorf("%+v", r)
			}
		}
	}
}
