package main

import (
	"context"
	"fmt"

	"demarc/test/account"
)

// api is one account, with what the stories ask and change.
type api struct{ *account.Account }

func login(ctx context.Context, clouds, entry string) (*api, error) {
	a, err := account.Login(ctx, clouds, entry)
	return &api{a}, err
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
	if _, err := a.Do(ctx, "GET", a.Network+"/ports", nil, &body); err != nil {
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
	if _, err := a.Do(ctx, "GET", a.Compute+"/servers?all_tenants=true", nil, &body); err != nil {
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
	_, err := a.Do(ctx, "GET", a.Compute+"/servers/"+server+"/os-instance-actions", nil, &body)
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
	if _, err := a.Do(ctx, "GET", a.Network+"/floatingips?floating_ip_address="+addr, nil, &body); err != nil {
		return err
	}
	if len(body.FloatingIPs) != 1 {
		return fmt.Errorf("%d floating IPs are %s", len(body.FloatingIPs), addr)
	}
	_, err := a.Do(ctx, "PUT", a.Network+"/floatingips/"+body.FloatingIPs[0].ID, map[string]any{"floatingip": map[string]any{"port_id": port}}, nil)
	return err
}

// setGroups puts groups on a port.
func (a *api) setGroups(ctx context.Context, port string, groups []string) error {
	_, err := a.Do(ctx, "PUT", a.Network+"/ports/"+port, map[string]any{"port": map[string]any{"security_groups": groups}}, nil)
	return err
}
