package openstack_test

import (
	"net/http"
	"strings"
	"testing"

	"demarc/internal/cloud/openstack"
	"demarc/internal/fault"
	"demarc/internal/lab"
)

// catalog lets a test write the catalog of a token anew: all endpoints of one type of service.
func catalog(kind string, change func(endpoints []any) []any) func(http.RoundTripper) http.RoundTripper {
	return edit("POST", "/v3/auth/tokens", func(_ *http.Request, doc map[string]any) {
		for _, s := range doc["token"].(map[string]any)["catalog"].([]any) {
			if s := s.(map[string]any); s["type"] == kind {
				s["endpoints"] = change(s["endpoints"].([]any))
			}
		}
	})
}

func rename(from, to string) func([]any) []any {
	return func(es []any) []any {
		for _, e := range es {
			e := e.(map[string]any)
			e["url"] = strings.TrimSuffix(e["url"].(string), from) + to
		}
		return es
	}
}

// Catalogs name the versions of their services, others, or none.
func TestCatalogsInAllSpellings(t *testing.T) {
	for name, to := range map[string][3]string{
		"network with its version":   {"network", "/networking", "/networking/v2.0"},
		"network with a slash":       {"network", "/networking", "/networking/v2.0/"},
		"network with v2":            {"network", "/networking", "/networking/v2"},
		"image with its version":     {"image", "/image", "/image/v2/"},
		"image with an old version":  {"image", "/image", "/image/v1"},
		"compute without":            {"compute", "/compute/v2.1", "/compute"},
		"compute with a slash":       {"compute", "/compute/v2.1", "/compute/"},
		"compute with v2":            {"compute", "/compute/v2.1", "/compute/v2"},
		"identity with its version":  {"identity", "/identity", "/identity/v3"},
		"identity with v2.0":         {"identity", "/identity", "/identity/v2.0"},
		"balancer with its version":  {"load-balancer", "/load-balancer", "/load-balancer/v2.0"},
		"balancer without a version": {"load-balancer", "/load-balancer", "/load-balancer/"},
	} {
		b := setup(t, func(c *openstack.Config) { c.PageSize, c.Around = 500, catalog(to[0], rename(to[1], to[2])) })
		if s := b.snap(t); counts(s) != whole || !s.Complete() {
			t.Errorf("%s: %s, gaps %v", name, counts(s), s.Gaps)
		}
	}
}

func connect(t *testing.T, around func(http.RoundTripper) http.RoundTripper, change func(*openstack.Config)) error {
	t.Helper()
	b := setup(t)
	conf := openstack.Config{Cloud: "lab", AuthURL: b.AuthURL(), Username: lab.DemoUser, Password: lab.DemoPassword, Project: lab.DemoProject, Around: around}
	change(&conf)
	c, err := openstack.Connect(t.Context(), conf)
	if err == nil {
		c.Close()
	}
	return err
}

// second adds an endpoint of the same interface.
func second(region, path string) func([]any) []any {
	return func(es []any) []any {
		e := es[0].(map[string]any)
		url := e["url"].(string)
		return append(es, map[string]any{"id": "other", "interface": "public", "region": region, "region_id": region, "url": url[:strings.LastIndex(url, "/")] + path})
	}
}

// Several endpoints of one service are a question to the operator, with what there is to choose from.
func TestSeveralEndpointsAreAQuestion(t *testing.T) {
	none := func(*openstack.Config) {}
	region := func(c *openstack.Config) { c.Region = "lab" }
	for name, c := range map[string]struct {
		around func([]any) []any
		change func(*openstack.Config)
		want   []string // what the message says; none: it connects
	}{
		"two regions":                      {second("west", "/west"), none, []string{"2 public endpoints of the service network", "region lab", "region west", "name the region"}},
		"two regions, one is named":        {second("west", "/west"), region, nil},
		"two in one region":                {second("lab", "/other"), region, []string{"2 public endpoints of the service network in the region lab", "endpoints: {network: URL}"}},
		"the same URL twice":               {second("lab", "/networking/v2.0/"), region, nil},
		"the same URL in another region":   {second("west", "/networking"), none, nil},
		"none in the region":               {nil, func(c *openstack.Config) { c.Region = "Lab" }, []string{"no public endpoint", "in the region Lab", "region lab: correct the region"}},
		"none with the interface":          {func(es []any) []any { return es[1:] }, none, []string{"no public endpoint of the service network", "another interface"}},
		"none at all":                      {func([]any) []any { return nil }, none, []string{"no public endpoint of the service network"}},
		"no URL at all":                    {rename("", " and more\x1b[31m"), none, []string{"no public endpoint of the service network"}},
		"an endpoint that is named, wrong": {nil, func(c *openstack.Config) { c.Endpoints = map[string]string{"network": "ftp://x"} }, []string{"ftp://x", "no http or https URL"}},
	} {
		var around func(http.RoundTripper) http.RoundTripper
		if c.around != nil {
			around = catalog("network", c.around)
		}
		err := connect(t, around, c.change)
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range c.want {
			if !fault.Is(err, fault.Config) || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %q", name, err, w)
			}
		}
	}
	var at string
	b := setup(t, func(c *openstack.Config) {
		at = strings.TrimSuffix(c.AuthURL, "/identity/v3") + "/networking"
		c.Endpoints, c.Around = map[string]string{"network": at}, catalog("network", second("lab", "/other"))
	})
	if s := b.snap(t); counts(s) != whole || !s.Complete() {
		t.Errorf("an endpoint that is named, %s: %s, gaps %v", at, counts(s), s.Gaps)
	}
}
