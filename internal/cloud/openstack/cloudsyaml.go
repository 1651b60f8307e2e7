package openstack

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"demarc/internal/fault"
)

// FromCloudsYAML reads one cloud of a clouds.yaml, the file that OpenStack's own tools use, with a secure.yaml beside it. What it holds of
// a credential or of the way to the cloud and is not supported is refused by its name: ignored, it would send the credential elsewhere. A
// file that others can read is taken as it is: its guard is the operator's. Relative paths count from the file.
func FromCloudsYAML(path, name string) (Config, error) {
	cloud, err := cloudIn(path, name)
	if err != nil {
		return Config{}, err
	}
	if cloud == nil {
		return Config{}, fault.New(fault.Config, "there is no cloud %q under clouds", name).In(fault.Position{File: path})
	}
	secure := filepath.Join(filepath.Dir(path), "secure"+filepath.Ext(path))
	switch more, err := cloudIn(secure, name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Config{}, err
	default:
		merge(cloud, more)
	}
	e := &entry{path: path, name: name, cloud: cloud, auth: within(cloud, "auth")}
	e.refuseUnknown()
	conf := e.config()
	if e.err != nil {
		return Config{}, e.err
	}
	return conf, nil
}

// cloudIn reads one cloud of a file; nil where the file has it not.
func cloudIn(path, name string) (map[string]any, error) {
	data, err := fault.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file map[string]any // loose, for the file belongs to other tools too
	if err := fault.DecodeYAML(path, data, &file); err != nil {
		return nil, err
	}
	return within(within(file, "clouds"), name), nil
}

// merge puts what the second map holds over the first, key by key, as OpenStack's client does with secure.yaml.
func merge(into, over map[string]any) {
	for k, v := range over {
		inner, ok := v.(map[string]any)
		if was, both := into[k].(map[string]any); ok && both {
			merge(was, inner)
		} else {
			into[k] = v
		}
	}
}

func within(m map[string]any, key string) map[string]any {
	inner, _ := m[key].(map[string]any)
	return inner
}

// entry is one cloud of the file. Its methods keep the first error.
type entry struct {
	path, name  string
	cloud, auth map[string]any
	err         error
}

func (e *entry) refuse(key, format, hint string, args ...any) {
	if e.err != nil {
		return
	}
	at := fault.Position{File: e.path}
	if data, err := fault.ReadFile(e.path); err == nil {
		at = fault.Nearest(e.path, data, "$.clouds."+e.name+"."+key)
	}
	e.err = fault.New(fault.Config, "cloud "+e.name+": "+format, append([]any{key}, args...)...).In(at).Hinted("%s", hint)
}

// authKeys are those under auth that are read.
var authKeys = []string{"auth_url", "username", "user_name", "user_id", "password",
	"project_name", "tenant_name", "project_id", "tenant_id",
	"user_domain_name", "user_domain_id", "project_domain_name", "project_domain_id",
	"domain_name", "domain_id", "default_domain_name", "default_domain_id",
	"system_scope", "application_credential_id", "application_credential_name", "application_credential_secret"}

// refuseUnknown refuses what would change whom we are, whom we speak to or how far we trust it, and is not read.
func (e *entry) refuseUnknown() {
	for _, k := range slices.Sorted(maps.Keys(e.auth)) {
		if !slices.Contains(authKeys, k) {
			e.refuse("auth."+k, "%s is not supported", "give an application credential, or username, password and project")
		}
	}
	switch t := e.text(e.cloud, "auth_type"); t {
	case "", "password", "v3password", "v3applicationcredential":
	default:
		e.refuse("auth_type", "%s %q is not supported", "use password, v3password or v3applicationcredential", t)
	}
	for _, k := range slices.Sorted(maps.Keys(e.cloud)) {
		e.refuseKey(k, e.cloud[k])
	}
}

// elsewhere are keys that belong under auth, or that only other tools read beside it.
var elsewhere = []string{"token", "auth_methods", "default_domain", "auth_url", "username", "password", "project_name", "project_id"}

func (e *entry) refuseKey(k string, v any) {
	service := func(suffix string) bool {
		name, found := strings.CutSuffix(k, suffix)
		return found && slices.Contains(Services(), strings.ReplaceAll(name, "_", "-"))
	}
	switch {
	case k == "profile" || k == "cloud":
		e.refuse(k, "%s is not supported", "write what the profile holds, such as auth_url and region_name, into the entry")
	case k == "verify" && v != true || k == "insecure" && v != false:
		e.refuse(k, "%s would switch off the check of certificates, which is not supported", "name the certificate authority with cacert")
	case k == "cert" || k == "key":
		e.refuse(k, "%s is not supported: no client certificate is sent", "use an application credential over TLS")
	case slices.Contains(elsewhere, k):
		e.refuse(k, "%s is not read here", "write it under auth; of default_domain, write default_domain_id or default_domain_name")
	case k == "identity_api_version":
		if s := fmt.Sprint(v); s != "3" && !strings.HasPrefix(s, "3.") {
			e.refuse(k, "%s %q is not supported", "Keystone is spoken to with version 3", s)
		}
	case service("_service_type") || service("_service_name") || service("_interface") || service("_region_name") || service("_endpoint"):
		e.refuse(k, "%s is not supported", "name the URL with SERVICE_endpoint_override, such as network_endpoint_override")
	}
}

// text is the first of some keys that has a value. What YAML does not read as a text would not be what the file says: of 0123 it makes 83.
func (e *entry) text(m map[string]any, keys ...string) string {
	for _, k := range keys {
		switch v := m[k].(type) {
		case nil:
		case string:
			if v != "" {
				return v
			}
		default:
			if slices.Contains(authKeys, k) {
				k = "auth." + k
			}
			e.refuse(k, "%s is a number, or another word of YAML's own, where a text is wanted", "put the value in quotes")
		}
	}
	return ""
}

func (e *entry) config() Config {
	a := e.auth
	c := Config{
		Cloud: e.name, AuthURL: e.text(a, "auth_url"),
		Username: e.text(a, "username", "user_name"), UserID: e.text(a, "user_id"), Password: e.text(a, "password"),
		Project: e.text(a, "project_name", "tenant_name"), ProjectID: e.text(a, "project_id", "tenant_id"), System: e.text(a, "system_scope") != "",
		AppCredID: e.text(a, "application_credential_id"), AppCredName: e.text(a, "application_credential_name"),
		AppCredSecret: e.text(a, "application_credential_secret"),
		Region:        e.region(), Interface: strings.TrimSuffix(e.text(e.cloud, "interface", "endpoint_type"), "URL"), CAFile: e.caFile(),
	}
	c.UserDomain, c.UserDomainID = e.domain("user_domain", "domain", "default_domain")
	c.ProjectDomain, c.ProjectDomainID = e.domain("project_domain", "domain", "default_domain")
	if c.Project == "" && c.ProjectID == "" && !c.System && c.AppCredSecret == "" && (a["domain_id"] != nil || a["domain_name"] != nil) {
		e.refuse("auth", "%s names a domain and no project: a token for a domain is not supported", "name a project under auth")
	}
	for _, s := range Services() {
		if at := e.text(e.cloud, strings.ReplaceAll(s, "-", "_")+"_endpoint_override"); at != "" {
			if c.Endpoints == nil {
				c.Endpoints = map[string]string{}
			}
			c.Endpoints[s] = at
		}
	}
	return c
}

// domain is the first of some that the file names, by its name or by its id, which counts for more.
func (e *entry) domain(prefixes ...string) (name, id string) {
	for _, p := range prefixes {
		name, id = e.text(e.auth, p+"_name"), e.text(e.auth, p+"_id")
		if name != "" || id != "" {
			break
		}
	}
	if id != "" {
		name = ""
	}
	return name, id
}

// region is the one that the entry names; of a list there may be one.
func (e *entry) region() string {
	if r := e.text(e.cloud, "region_name"); r != "" {
		return r
	}
	list, _ := e.cloud["regions"].([]any)
	var names []string
	for _, r := range list {
		switch r := r.(type) {
		case string:
			names = append(names, r)
		case map[string]any:
			names = append(names, e.text(r, "name"))
		}
	}
	switch {
	case e.cloud["regions"] == nil:
	case len(names) == 1:
		return names[0]
	default:
		e.refuse("regions", "%s lists %d regions", "name the one that is meant with region_name", len(names))
	}
	return ""
}

func (e *entry) caFile() string {
	at := e.text(e.cloud, "cacert")
	if rest, home := strings.CutPrefix(at, "~/"); home {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
		e.refuse("cacert", "%s begins with ~, and this account has no home folder", "write the whole path")
	}
	if at != "" && !filepath.IsAbs(at) {
		at = filepath.Join(filepath.Dir(e.path), at)
	}
	return at
}
