package openstack

import (
	"os"

	"demarc/internal/fault"
)

// FromCloudsYAML reads one cloud of a clouds.yaml, the file that OpenStack's own tools use. A file
// that others can read is taken as it is: its guard is the operator's.
func FromCloudsYAML(path, name string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fault.New(fault.Config, "cannot read clouds.yaml: %w", err).In(fault.Position{File: path})
	}
	var file map[string]any // loose, for the file belongs to other tools too
	if err := fault.DecodeYAML(path, data, &file); err != nil {
		return Config{}, err
	}
	cloud := within(within(file, "clouds"), name)
	if cloud == nil {
		return Config{}, fault.New(fault.Config, "there is no cloud %q", name).In(fault.Position{File: path})
	}
	auth := within(cloud, "auth")
	text := func(m map[string]any, keys ...string) string {
		for _, k := range keys {
			if s, ok := m[k].(string); ok && s != "" {
				return s
			}
		}
		return ""
	}
	return Config{
		Cloud: name, AuthURL: text(auth, "auth_url"), Username: text(auth, "username"), Password: text(auth, "password"),
		UserDomain: text(auth, "user_domain_name", "domain_name"), Project: text(auth, "project_name"), ProjectDomain: text(auth, "project_domain_name", "domain_name"),
		System:    text(auth, "system_scope") != "",
		AppCredID: text(auth, "application_credential_id"), AppCredSecret: text(auth, "application_credential_secret"),
		Region: text(cloud, "region_name"), Interface: text(cloud, "interface"), CAFile: text(cloud, "cacert"),
	}, nil
}

func within(m map[string]any, key string) map[string]any {
	inner, _ := m[key].(map[string]any)
	return inner
}
