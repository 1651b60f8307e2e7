// Package account speaks to a cloud as one account, without any code of Demarc's: what tests change and look at must not depend on
// what they test.
package account

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// computeVersion is the version of Nova's API that shows locks, and still takes a server's groups as it always did.
const computeVersion = "2.9"

// Account is a token, and where it leads.
type Account struct {
	token            string
	Compute, Network string // where Nova and Neutron answer, without a slash at the end
	Identity         string // where Keystone answers, with its version
}

// Login takes a token with the password that a clouds.yaml holds.
func Login(ctx context.Context, clouds, entry string) (*Account, error) {
	b, err := os.ReadFile(clouds)
	if err != nil {
		return nil, err
	}
	var file struct {
		Clouds map[string]struct {
			Auth map[string]string `yaml:"auth"`
		} `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("clouds.yaml: %w", err)
	}
	auth := file.Clouds[entry].Auth
	domain := map[string]any{"name": auth["user_domain_name"]}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{"name": auth["username"], "domain": domain, "password": auth["password"]}}},
		"scope":    map[string]any{"project": map[string]any{"name": auth["project_name"], "domain": domain}},
	}}
	a := &Account{}
	var answer struct {
		Token struct {
			Catalog []struct {
				Type      string
				Endpoints []struct{ Interface, URL string }
			}
		}
	}
	h, err := a.Do(ctx, "POST", auth["auth_url"]+"/auth/tokens", body, &answer)
	if err != nil {
		return nil, fmt.Errorf("a token for %s: %w", entry, err)
	}
	a.token = h.Get("X-Subject-Token")
	for _, s := range answer.Token.Catalog {
		for _, p := range s.Endpoints {
			switch {
			case p.Interface != "public":
			case s.Type == "compute":
				a.Compute = p.URL
			case s.Type == "identity":
				a.Identity = strings.TrimSuffix(p.URL, "/")
			case s.Type == "network":
				a.Network = strings.TrimSuffix(p.URL, "/") + "/v2.0"
			}
		}
	}
	return a, nil
}

// Status is an answer that is not 2xx.
type Status int

func (s Status) Error() string { return fmt.Sprintf("HTTP %d", int(s)) }

// Do sends one request and reads the answer into into, which may be nil. An answer that is not 2xx is a Status.
func (a *Account) Do(ctx context.Context, method, url string, body, into any) (http.Header, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("X-Auth-Token", a.token)
	q.Header.Set("OpenStack-API-Version", "compute "+computeVersion)
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %w: %.200s", method, url, Status(res.StatusCode), b)
	}
	if into == nil {
		return res.Header, nil
	}
	return res.Header, json.Unmarshal(b, into)
}
