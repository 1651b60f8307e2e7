package main

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

// api speaks to the cloud as one account, without any code of Demarc's.
type api struct {
	token            string
	compute, network string
}

// login takes a token with the password that a clouds.yaml holds.
func login(ctx context.Context, clouds, entry string) (*api, error) {
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
	a := &api{}
	var answer struct {
		Token struct {
			Catalog []struct {
				Type      string
				Endpoints []struct{ Interface, URL string }
			}
		}
	}
	h, err := a.do(ctx, "POST", auth["auth_url"]+"/auth/tokens", body, &answer)
	if err != nil {
		return nil, fmt.Errorf("a token for %s: %w", entry, err)
	}
	a.token = h.Get("X-Subject-Token")
	for _, s := range answer.Token.Catalog {
		for _, p := range s.Endpoints {
			switch {
			case p.Interface != "public":
			case s.Type == "compute":
				a.compute = p.URL
			case s.Type == "network":
				a.network = strings.TrimSuffix(p.URL, "/") + "/v2.0"
			}
		}
	}
	return a, nil
}

// status is an answer that is not 2xx.
type status int

func (s status) Error() string { return fmt.Sprintf("HTTP %d", int(s)) }

func (a *api) do(ctx context.Context, method, url string, body, into any) (http.Header, error) {
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
		return nil, fmt.Errorf("%s %s: %w: %.200s", method, url, status(res.StatusCode), b)
	}
	if into == nil {
		return res.Header, nil
	}
	return res.Header, json.Unmarshal(b, into)
}

// port is a port as Neutron shows it.
type port struct {
	ID       string   `json:"id"`
	Device   string   `json:"device_id"`
	Owner    string   `json:"device_owner"`
	Groups   []string `json:"security_groups"`
	Revision int      `json:"revision_number"`
	Up       bool     `json:"admin_state_up"`
	Security bool     `json:"port_security_enabled"`
	Project  string   `json:"project_id"`
	Network  string   `json:"network_id"`
}

func (a *api) ports(ctx context.Context) (map[string]port, error) {
	var body struct{ Ports []port }
	if _, err := a.do(ctx, "GET", a.network+"/ports", nil, &body); err != nil {
		return nil, err
	}
	out := map[string]port{}
	for _, p := range body.Ports {
		out[p.ID] = p
	}
	return out, nil
}

// servers gives the ids of all servers, by name.
func (a *api) servers(ctx context.Context) (map[string]string, error) {
	var body struct{ Servers []struct{ ID, Name string } }
	if _, err := a.do(ctx, "GET", a.compute+"/servers?all_tenants=true", nil, &body); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range body.Servers {
		out[s.Name] = s.ID
	}
	return out, nil
}

// actions lists what Nova remembers of a server, the newest first.
func (a *api) actions(ctx context.Context, server string) ([]string, error) {
	var body struct {
		Actions []struct{ Action string } `json:"instanceActions"`
	}
	_, err := a.do(ctx, "GET", a.compute+"/servers/"+server+"/os-instance-actions", nil, &body)
	var out []string
	for _, x := range body.Actions {
		out = append(out, x.Action)
	}
	return out, err
}

// moveFloating gives a floating IP, by its address, to a port.
func (a *api) moveFloating(ctx context.Context, addr, port string) error {
	var body struct {
		FloatingIPs []struct{ ID string } `json:"floatingips"`
	}
	if _, err := a.do(ctx, "GET", a.network+"/floatingips?floating_ip_address="+addr, nil, &body); err != nil {
		return err
	}
	if len(body.FloatingIPs) != 1 {
		return fmt.Errorf("%d floating IPs are %s", len(body.FloatingIPs), addr)
	}
	_, err := a.do(ctx, "PUT", a.network+"/floatingips/"+body.FloatingIPs[0].ID, map[string]any{"floatingip": map[string]any{"port_id": port}}, nil)
	return err
}

// setGroups puts groups on a port.
func (a *api) setGroups(ctx context.Context, port string, groups []string) error {
	_, err := a.do(ctx, "PUT", a.network+"/ports/"+port, map[string]any{"port": map[string]any{"security_groups": groups}}, nil)
	return err
}
