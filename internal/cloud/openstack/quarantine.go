package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/asset"
	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// EnsureQuarantine implements cloud.Actor.
func (c *Cloud) EnsureQuarantine(ctx context.Context, spec cloud.QuarantineSpec) (asset.GroupID, error) {
	if c.project == "" || spec.Name == "" || spec.Name == "default" {
		return "", fault.New(fault.Refused, "no quarantine group %q without a project of its own and a name of its own", spec.Name)
	}
	id, err := c.quarantineGroup(ctx, spec.Name)
	if err != nil {
		return "", err
	}
	g, err := c.group(ctx, id)
	if err != nil {
		return "", err
	}
	if g.Shared {
		return "", fault.New(fault.Refused, "the quarantine group %s is shared with other projects, which could open it", id).
			Hinted("delete its RBAC policies: openstack network rbac list --type security_group")
	}
	want := wantedRules(spec)
	// What is too much goes first: an opening that should not be there is worse than a repair path that comes
	// a moment later.
	for _, w := range g.rules() {
		r, odd := w.asset()
		if _, ok := want[keyOf(r)]; !ok || odd != nil {
			if err := c.deleteRule(ctx, w.ID); err != nil {
				return "", err
			}
		}
		if odd == nil {
			delete(want, keyOf(r))
		}
	}
	for _, key := range sorted(want) {
		if err := c.addRule(ctx, id, want[key]); err != nil {
			return "", err
		}
	}
	return id, c.proveQuarantine(ctx, id, spec)
}

// proveQuarantine reads the group back and holds it against the spec.
func (c *Cloud) proveQuarantine(ctx context.Context, id asset.GroupID, spec cloud.QuarantineSpec) error {
	g, err := c.group(ctx, id)
	if err != nil {
		return err
	}
	want := wantedRules(spec)
	have := map[string]bool{}
	for _, w := range g.rules() {
		r, odd := w.asset()
		key := keyOf(r)
		if _, ok := want[key]; !ok || odd != nil {
			return fault.New(fault.Conflict, "quarantine group %s has a rule it should not have: %s", id, w.ID)
		}
		have[key] = true
	}
	if len(have) != len(want) {
		return fault.New(fault.Conflict, "quarantine group %s has %d of %d rules", id, len(have), len(want))
	}
	return nil
}

// quarantineGroup finds the group by name in our own project, or makes it. Of several, the first by id: two that
// looked at the same moment then agree.
func (c *Cloud) quarantineGroup(ctx context.Context, name string) (asset.GroupID, error) {
	q := url.Values{"name": {name}, "project_id": {c.project}}
	rows, err := walk(ctx, c, listing{client: c.network, path: "security-groups", key: "security_groups", query: q}, func(w wireGroup) string { return w.ID })
	if err != nil {
		return "", err
	}
	// The filter is the service's; that it was obeyed is ours to see.
	rows = slices.DeleteFunc(rows, func(w wireGroup) bool { return w.Name != name || w.ProjectID != c.project })
	if len(rows) > 0 {
		slices.SortFunc(rows, func(a, b wireGroup) int { return compare(a.ID, b.ID) })
		return asset.GroupID(rows[0].ID), nil
	}
	var body struct {
		Group wireGroup `json:"security_group"`
	}
	err = c.change(ctx, c.network, "POST", c.network.ServiceURL("security-groups"), &gophercloud.RequestOpts{
		JSONBody:     map[string]any{"security_group": map[string]any{"name": name, "description": "Kept by demarc; do not edit"}},
		JSONResponse: &body, OkCodes: []int{201},
	})
	return asset.GroupID(body.Group.ID), err
}

// wantedRules is the spec as rules, by what they admit.
func wantedRules(spec cloud.QuarantineSpec) map[string]map[string]any {
	out := map[string]map[string]any{}
	add := func(d asset.Direction, o cloud.Opening) {
		r := asset.Rule{Direction: d, EtherType: 4, Protocol: o.Proto, PortMin: asset.AnyPort, PortMax: asset.AnyPort, RemotePrefix: o.Prefix.Masked()}
		body := map[string]any{"direction": string(d), "ethertype": "IPv4", "remote_ip_prefix": r.RemotePrefix.String(), "description": o.Purpose}
		if o.Prefix.Addr().Is6() {
			r.EtherType, body["ethertype"] = 6, "IPv6"
		}
		if o.Proto != "" {
			body["protocol"] = o.Proto
		}
		if o.PortMin != 0 || o.PortMax != 0 {
			r.PortMin, r.PortMax = o.PortMin, max(o.PortMin, o.PortMax)
			body["port_range_min"], body["port_range_max"] = r.PortMin, r.PortMax
		}
		out[keyOf(r)] = body
	}
	for _, o := range spec.Admit {
		add(asset.Ingress, o)
	}
	for _, o := range spec.Egress {
		add(asset.Egress, o)
	}
	return out
}

// keyOf says what a rule admits, so that two rules are the same if it is.
func keyOf(r asset.Rule) string {
	return fmt.Sprint(r.Direction, r.EtherType, r.Protocol, r.PortMin, r.PortMax, r.RemotePrefix, r.RemoteGroup, r.RemoteAddress)
}

func (c *Cloud) deleteRule(ctx context.Context, id string) error {
	err := c.change(ctx, c.network, "DELETE", c.network.ServiceURL("security-group-rules", url.PathEscape(id)), &gophercloud.RequestOpts{OkCodes: []int{204}})
	if errors.Is(err, cloud.ErrNotFound) {
		return nil
	}
	return err
}

func (c *Cloud) addRule(ctx context.Context, id asset.GroupID, rule map[string]any) error {
	rule["security_group_id"] = string(id)
	err := c.change(ctx, c.network, http.MethodPost, c.network.ServiceURL("security-group-rules"), &gophercloud.RequestOpts{
		JSONBody: map[string]any{"security_group_rule": rule}, OkCodes: []int{201},
	})
	if fault.Is(err, fault.Conflict) {
		return nil // it exists already; the reading afterwards decides
	}
	return err
}
