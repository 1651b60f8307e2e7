package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

func (c *call) neutronWrite() answer {
	switch {
	case c.is("PUT", "v2.0", "ports", "*"):
		return c.updatePort()
	case c.is("PUT", "v2.0", "floatingips", "*"):
		return c.updateFloating()
	case c.is("POST", "v2.0", "security-groups"):
		return c.createGroup()
	case c.is("DELETE", "v2.0", "security-groups", "*"):
		return c.deleteGroup()
	case c.is("POST", "v2.0", "security-group-rules"):
		return c.createRule()
	case c.is("DELETE", "v2.0", "security-group-rules", "*"):
		return c.deleteRule()
	}
	return answer{status: 404}
}

func badRequest(kind, format string, args ...any) answer {
	return answer{status: 400, body: neutronError(kind, fmt.Sprintf(format, args...))}
}

func (c *call) updatePort() answer {
	p := c.w.port(c.path[2])
	if p == nil || !c.who.sees(p.ProjectID) {
		return notFound("Port", c.path[2])
	}
	want := *p
	if a, wrong := c.wantedPort(&want); wrong {
		return a
	}
	if same := slices.Equal(slices.Sorted(slices.Values(want.SecurityGroups)), slices.Sorted(slices.Values(p.SecurityGroups))); same && want.PortSecurity == p.PortSecurity && want.AdminStateUp == p.AdminStateUp {
		// Neutron does not hold what changes nothing against If-Match; it answers, and then the revision moves on (seen in Zed).
		c.idle = true
		said := *p
		p.touch()
		return answer{status: 200, body: map[string]any{"port": &said}}
	}
	if a, stale := c.stale(p.Revision); stale {
		return a
	}
	p.PortSecurity, p.SecurityGroups, p.AdminStateUp = want.PortSecurity, want.SecurityGroups, want.AdminStateUp
	p.touch()
	name := ""
	if s := c.w.server1(p.DeviceID); s != nil {
		name = s.name
	}
	c.w.emit(Event{Kind: "groups", Server: name, Port: p.ID})
	return answer{status: 200, body: map[string]any{"port": p}}
}

// wantedPort is what a request makes of a port. Null groups are none at all, as in Neutron.
func (c *call) wantedPort(p *portRow) (answer, bool) {
	var q struct {
		Port struct {
			SecurityGroups json.RawMessage `json:"security_groups"`
			PortSecurity   *bool           `json:"port_security_enabled"`
			AdminStateUp   *bool           `json:"admin_state_up"`
		} `json:"port"`
	}
	if err := json.Unmarshal(c.body, &q); err != nil {
		return badRequest("HTTPBadRequest", "%s", err), true
	}
	if q.Port.PortSecurity != nil {
		p.PortSecurity = *q.Port.PortSecurity
	}
	if q.Port.AdminStateUp != nil {
		p.AdminStateUp = *q.Port.AdminStateUp
	}
	if q.Port.SecurityGroups != nil {
		p.SecurityGroups = []string{}
		if err := json.Unmarshal(q.Port.SecurityGroups, &p.SecurityGroups); err != nil {
			return badRequest("HTTPBadRequest", "%s", err), true
		}
		p.SecurityGroups = nonNil(p.SecurityGroups)
		for i, id := range p.SecurityGroups {
			if slices.Contains(p.SecurityGroups[:i], id) {
				return badRequest("HTTPBadRequest", "Invalid input for security_groups. Reason: Duplicate items in the list: '%s'.", id), true
			}
			if g := c.w.groupByID(id); g == nil || !c.sees(g) {
				return noGroup(id), true
			}
		}
	}
	if !p.PortSecurity && len(p.SecurityGroups) > 0 {
		return badRequest("PortSecurityAndIPRequiredForSecurityGroups", "Port security must be enabled and port must have an IP address in order to use security groups."), true
	}
	return answer{}, false
}

// sees tells whether the account may see a group: its own, or one that is shared with all.
func (c *call) sees(g *groupRow) bool { return g.Shared || c.who.sees(g.ProjectID) }

func noGroup(id string) answer {
	return answer{status: 404, body: neutronError("SecurityGroupNotFound", "Security group "+id+" does not exist")}
}

func (c *call) updateFloating() answer {
	f := find(c.w.floating, func(f *floatingRow) bool { return f.ID == c.path[2] })
	if f == nil || !c.who.sees(f.ProjectID) {
		return notFound("FloatingIP", c.path[2])
	}
	if a, stale := c.stale(f.Revision); stale {
		return a
	}
	var q struct {
		FloatingIP struct {
			PortID *string `json:"port_id"`
		} `json:"floatingip"`
	}
	if err := json.Unmarshal(c.body, &q); err != nil {
		return badRequest("HTTPBadRequest", "%s", err)
	}
	var p *portRow
	if q.FloatingIP.PortID != nil {
		if p = c.w.port(*q.FloatingIP.PortID); p == nil || !c.who.sees(p.ProjectID) {
			return notFound("Port", *q.FloatingIP.PortID)
		}
	}
	c.w.bind(f, p)
	f.touch()
	return answer{status: 200, body: map[string]any{"floatingip": f}}
}

func (c *call) createGroup() answer {
	var q struct {
		Group struct {
			Name, Description string
			ProjectID         string `json:"project_id"`
			TenantID          string `json:"tenant_id"`
			Stateful          *bool  `json:"stateful"`
		} `json:"security_group"`
	}
	if err := json.Unmarshal(c.body, &q); err != nil {
		return badRequest("HTTPBadRequest", "%s", err)
	}
	project := orElse(orElse(q.Group.ProjectID, q.Group.TenantID), c.who.project.ID)
	if !c.who.sees(project) {
		return answer{status: 403, body: neutronError("PolicyNotAuthorized", "rule:create_security_group is disallowed by policy")}
	}
	if q.Group.Name == "default" {
		return answer{status: 409, body: neutronError("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")}
	}
	g := c.w.newGroup(project, q.Group.Name, q.Group.Description)
	if q.Group.Stateful != nil {
		g.Stateful = *q.Group.Stateful
	}
	return answer{status: 201, body: map[string]any{"security_group": g}}
}

func (c *call) deleteGroup() answer {
	g := c.w.groupByID(c.path[2])
	if g == nil || !c.who.sees(g.ProjectID) {
		return noGroup(c.path[2])
	}
	for _, p := range c.w.ports {
		if slices.Contains(p.SecurityGroups, g.ID) {
			return answer{status: 409, body: neutronError("SecurityGroupInUse", "Security Group "+g.ID+" in use.")}
		}
	}
	c.w.groups = slices.DeleteFunc(c.w.groups, func(o *groupRow) bool { return o == g })
	return answer{status: 204}
}

type ruleRequest struct {
	Rule struct {
		GroupID         string  `json:"security_group_id"`
		Direction       string  `json:"direction"`
		EtherType       string  `json:"ethertype"`
		Protocol        *string `json:"protocol"`
		PortMin         *int    `json:"port_range_min"`
		PortMax         *int    `json:"port_range_max"`
		RemotePrefix    *string `json:"remote_ip_prefix"`
		RemoteGroup     *string `json:"remote_group_id"`
		RemoteAddresses *string `json:"remote_address_group_id"`
		Description     string  `json:"description"`
	} `json:"security_group_rule"`
}

func (c *call) createRule() answer {
	var q ruleRequest
	if err := json.Unmarshal(c.body, &q); err != nil {
		return badRequest("HTTPBadRequest", "%s", err)
	}
	g := c.w.groupByID(q.Rule.GroupID)
	if g == nil || !c.sees(g) { // a group that is shared can be opened by those who see it
		return noGroup(q.Rule.GroupID)
	}
	if q.Rule.Direction != "ingress" && q.Rule.Direction != "egress" {
		return badRequest("HTTPBadRequest", "Invalid input for direction. Reason: %s is not in valid_values.", q.Rule.Direction)
	}
	row := c.w.newRule(g, Rule{Egress: q.Rule.Direction == "egress", IPv6: q.Rule.EtherType == "IPv6"})
	row.ProjectID, row.TenantID = c.who.project.ID, c.who.project.ID // whose hand it was, not whose group
	row.Protocol, row.PortMin, row.PortMax = q.Rule.Protocol, q.Rule.PortMin, q.Rule.PortMax
	row.RemotePrefix, row.RemoteGroup, row.RemoteAddresses, row.Description = q.Rule.RemotePrefix, q.Rule.RemoteGroup, q.Rule.RemoteAddresses, q.Rule.Description
	if row.RemotePrefix != nil {
		p, err := netip.ParsePrefix(*row.RemotePrefix)
		if err != nil {
			return badRequest("InvalidCIDR", "Invalid CIDR %s given as IP prefix.", *row.RemotePrefix)
		}
		if p.Addr().Is6() != (row.EtherType == "IPv6") {
			return badRequest("SecurityGroupRuleParameterConflict", "Conflicting value ethertype %s for CIDR %s", row.EtherType, p)
		}
		n := p.Masked().String()
		row.NormalizedCIDR = &n
	}
	if (row.PortMin != nil || row.PortMax != nil) && row.Protocol == nil {
		return badRequest("SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.")
	}
	for _, o := range g.Rules {
		if o.String() == row.String() {
			return answer{status: 409, body: neutronError("SecurityGroupRuleExists", "Security group rule already exists. Rule id is "+o.ID+".")}
		}
	}
	g.Rules = append(g.Rules, row)
	g.touch()
	c.w.emit(Event{Kind: "rules", Detail: g.Name})
	return answer{status: 201, body: map[string]any{"security_group_rule": row}}
}

func (c *call) deleteRule() answer {
	for _, g := range c.w.groups {
		i := slices.IndexFunc(g.Rules, func(r *ruleRow) bool { return r.ID == c.path[2] })
		if i < 0 || !c.who.sees(g.ProjectID) && !c.who.sees(g.Rules[i].ProjectID) {
			continue
		}
		g.Rules = slices.Delete(g.Rules, i, i+1)
		g.touch()
		c.w.emit(Event{Kind: "rules", Detail: g.Name})
		return answer{status: 204}
	}
	return answer{status: 404, body: neutronError("SecurityGroupRuleNotFound", "Security group rule "+c.path[2]+" does not exist")}
}
