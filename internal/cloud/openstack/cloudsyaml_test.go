package openstack_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"demarc/internal/cloud/openstack"
	"demarc/internal/fault"
)

// askedFor connects as an entry of a clouds.yaml says and gives what Keystone is asked for.
func askedFor(t *testing.T, entry, secure string) (string, openstack.Config, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "clouds.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "clouds:\n  campus:\n"+entry)
	if secure != "" {
		write(filepath.Join(dir, "secure.yaml"), secure)
	}
	conf, err := openstack.FromCloudsYAML(path, "campus")
	if err != nil {
		return "", conf, err
	}
	var sent string
	conf.Around = func(http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				b, _ := io.ReadAll(r.Body)
				sent = string(b)
			}
			return &http.Response{StatusCode: 401, Status: "401", Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
		})
	}
	if _, err := openstack.Connect(t.Context(), conf); sent == "" {
		return "", conf, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(sent)); err != nil {
		t.Fatal(err)
	}
	return b.String(), conf, nil
}

const authURL = "auth_url: 'http://127.0.0.1:1/v3'"

// What others' clouds.yaml say of a credential is sent as they say it: no credential goes to a domain that the file does not name.
func TestCredentialsOfOthersFiles(t *testing.T) {
	for name, c := range map[string]struct {
		entry, secure string
		want          []string // parts of what Keystone is asked for
		never         string
	}{
		"domains by id": {entry: "    auth: {" + authURL + ", username: reader, password: s3cret, project_name: security, user_domain_id: u1, project_domain_id: p1}\n",
			want: []string{`"user":{"domain":{"id":"u1"},"name":"reader","password":"s3cret"}`, `"project":{"domain":{"id":"p1"},"name":"security"}`}, never: "Default"},
		"one domain for both": {entry: "    auth: {" + authURL + ", username: reader, password: s3cret, project_name: security, user_domain_id: u1}\n",
			want: []string{`"user":{"domain":{"id":"u1"}`, `"project":{"domain":{"id":"u1"}`}, never: "Default"},
		"a project by id": {entry: "    auth: {" + authURL + ", username: reader, password: s3cret, project_id: p7, user_domain_name: astro}\n",
			want: []string{`"domain":{"name":"astro"}`, `"scope":{"project":{"id":"p7"}}`}, never: "Default"},
		"a user by id": {entry: "    auth: {" + authURL + ", user_id: u7, password: s3cret, project_id: p7}\n",
			want: []string{`"user":{"id":"u7","password":"s3cret"}`}, never: "Default"},
		"a credential by name": {entry: "    auth_type: v3applicationcredential\n    auth: {" + authURL + ", application_credential_name: demarc, username: reader, user_domain_name: Default, application_credential_secret: s3cret}\n",
			want: []string{`"application_credential":{"name":"demarc","secret":"s3cret","user":{"domain":{"name":"Default"},"name":"reader"}}`}},
		"the secret apart": {entry: "    auth: {" + authURL + ", username: reader, project_name: security}\n", secure: "clouds:\n  campus:\n    auth: {password: s3cret}\n",
			want: []string{`"password":"s3cret"`, `"domain":{"name":"Default"}`}},
		"a secret with a mark": {entry: "    auth: {" + authURL + ", username: reader, project_name: security}\n", secure: "\ufeffclouds:\r\n  campus:\r\n    auth: {password: s3cret}\r\n",
			want: []string{`"password":"s3cret"`}},
		"another's secret apart": {entry: "    auth: {" + authURL + ", username: reader, password: s3cret, project_name: security}\n", secure: "clouds:\n  other:\n    auth: {password: wrong}\n",
			want: []string{`"password":"s3cret"`}},
		"a default domain": {entry: "    auth: {" + authURL + ", username: reader, password: s3cret, project_name: security, default_domain_id: d1}\n",
			want: []string{`"user":{"domain":{"id":"d1"}`, `"project":{"domain":{"id":"d1"}`}, never: "Default"},
		"a tenant": {entry: "    auth: {" + authURL + ", username: reader, password: s3cret, tenant_name: security}\n", want: []string{`"name":"security"`}},
	} {
		sent, _, err := askedFor(t, c.entry, c.secure)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.want {
			if !strings.Contains(sent, w) {
				t.Errorf("%s: Keystone is asked\n%s\nwithout %s", name, sent, w)
			}
		}
		if c.never != "" && strings.Contains(sent, c.never) {
			t.Errorf("%s: %s is sent, which the file does not say: %s", name, c.never, sent)
		}
	}
}

// What is not supported is refused by its name, and no message holds a secret.
func TestWhatACloudsFileMayNotSay(t *testing.T) {
	const auth = "    auth: {" + authURL + ", username: reader, password: hunter22, project_name: security"
	for name, c := range map[string]struct{ entry, says string }{
		"a password of digits":      {"    auth: {" + authURL + ", username: reader, password: 12345678, project_name: security}\n", "auth.password is a number"},
		"a project of digits":       {"    auth: {" + authURL + ", username: reader, password: x, project_name: 0123}\n", "auth.project_name is a number"},
		"a trust":                   {auth + ", trust_id: t1}\n", "auth.trust_id is not supported"},
		"a passcode":                {auth + ", passcode: '123456'}\n", "auth.passcode is not supported"},
		"a token":                   {"    auth_type: token\n    auth: {" + authURL + ", token: hunter22}\n", "auth.token is not supported"},
		"federation":                {"    auth_type: v3oidcpassword\n" + auth + "}\n", `auth_type "v3oidcpassword" is not supported`},
		"no check of certificates":  {"    verify: false\n" + auth + "}\n", "verify would switch off"},
		"insecure":                  {"    insecure: true\n" + auth + "}\n", "insecure would switch off"},
		"a profile":                 {"    profile: vexxhost\n" + auth + "}\n", "profile is not supported"},
		"several regions":           {"    regions: [a, b]\n" + auth + "}\n", "regions lists 2 regions"},
		"a client certificate":      {"    cert: c.pem\n" + auth + "}\n", "cert is not supported"},
		"Keystone 2":                {"    identity_api_version: 2.0\n" + auth + "}\n", "identity_api_version"},
		"a service of another name": {"    network_service_name: neutron2\n" + auth + "}\n", "network_service_name is not supported"},
		"a token for a domain":      {"    auth: {" + authURL + ", username: reader, password: x, domain_name: astro}\n", "a token for a domain is not supported"},
		"a credential outside":      {"    username: reader\n    auth: {" + authURL + "}\n", "username is not read here"},
		"no password":               {"    auth: {" + authURL + ", username: reader, project_name: security}\n", "it lacks the password"},
		"a key twice":               {"    region_name: a\n    region_name: b\n" + auth + "}\n", "clouds.yaml:4"},
	} {
		_, _, err := askedFor(t, c.entry, "")
		if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "12345678") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		entry string
		ok    func(openstack.Config) bool
	}{
		"one region in a list": {"    regions: [a]\n    verify: true\n    identity_api_version: 3\n" + auth + "}\n", func(c openstack.Config) bool { return c.Region == "a" }},
		"a region with values": {"    regions: [{name: b, values: {}}]\n" + auth + "}\n", func(c openstack.Config) bool { return c.Region == "b" }},
		"an old interface":     {"    endpoint_type: internalURL\n" + auth + "}\n", func(c openstack.Config) bool { return c.Interface == "internal" }},
		"an endpoint": {"    load_balancer_endpoint_override: https://lb.example/\n    volume_api_version: '3'\n" + auth + "}\n",
			func(c openstack.Config) bool { return c.Endpoints["load-balancer"] == "https://lb.example/" }},
	} {
		if _, conf, err := askedFor(t, c.entry, ""); err != nil || !c.ok(conf) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("HOME", t.TempDir())
	if _, conf, err := askedFor(t, "    cacert: ~/ca.pem\n"+auth+"}\n", ""); conf.CAFile != filepath.Join(os.Getenv("HOME"), "ca.pem") || !strings.Contains(err.Error(), "CA file") {
		t.Errorf("a CA in the home folder is looked for at %q: %v", conf.CAFile, err)
	}
	if _, conf, _ := askedFor(t, "    cacert: ca.pem\n"+auth+"}\n", ""); !filepath.IsAbs(conf.CAFile) {
		t.Errorf("a CA beside the file is looked for at %q", conf.CAFile)
	}
}
