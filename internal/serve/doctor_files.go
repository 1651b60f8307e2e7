package serve

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"demarc/internal/policy"
)

// LoadToExamine is Load for the doctor: accounts among approvers that this machine does not have are a finding, and hide nothing else.
func LoadToExamine(path string) (*Config, *policy.Policy, error) {
	return load(path, &Config{examined: true})
}

// secretFiles lists the files that hold secrets, or may: passwords, credentials, and each clouds.yaml with the secure.yaml beside it.
func (c *Config) secretFiles() []string {
	var out []string
	add := func(path string) {
		if path = c.path(path); path != "" && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	for _, p := range []string{c.DBPassword, c.Cloud.PasswordFile, c.Cloud.CredentialFile, c.Enforce.CredentialFile, c.Mail.PasswordFile} {
		add(p)
	}
	for _, p := range []string{c.Cloud.CloudsFile, c.Enforce.CloudsFile} {
		add(p)
		if p = c.path(p); p != "" {
			add(filepath.Join(filepath.Dir(p), "secure"+filepath.Ext(p)))
		}
	}
	return out
}

// files looks at who may read the secrets. A group may: that is how files are given to a service account.
func (d Doctor) files(_ context.Context, k *chart) {
	seen, well := 0, true
	for _, path := range d.Config.secretFiles() {
		info, err := os.Stat(path) // what a link leads to is what is read
		switch {
		case errors.Is(err, fs.ErrNotExist): // a secure.yaml need not be there; without one of the others nothing would have started
			continue
		case err != nil:
			k.warn(SecretsUnread, "let this account see the folder", "cannot tell who may read %s: %s", path, err)
			well = false
			continue
		}
		seen++
		const remedy = "chmod o-rwx, and g-w: the file is for the account that runs demarc; in Kubernetes set defaultMode: 0400"
		switch mode := info.Mode().Perm(); {
		case mode&0o004 != 0:
			k.warn(SecretsReadable, remedy, "every account of this machine may read %s (mode %04o)", path, mode)
			well = false
		case mode&0o022 != 0:
			k.warn(SecretsReadable, remedy, "others may write %s (mode %04o), and put a credential of their own there", path, mode)
			well = false
		}
	}
	if well && seen > 0 {
		k.fine(SecretsKept, "%d files with secrets are kept from other accounts", seen)
	}
	if well && seen == 0 {
		k.skip(SecretsKept, "the configuration names no file with a secret")
	}
}

// approvers reports the accounts that may decide and are not there.
func (d Doctor) approvers(k *chart) {
	for _, a := range d.Config.strangers {
		k.fail(ApproverUnknown, "correct approvers, or make the account: demarc serve does not start with it",
			"there is no account %q on this machine, which approvers name", a)
	}
}
