package lab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minor reads the microversion 2.x that the caller asked for, 1 by default.
func (c *call) minor() int {
	text := c.r.Header.Get("X-OpenStack-Nova-API-Version")
	if v, ok := strings.CutPrefix(c.r.Header.Get("OpenStack-API-Version"), "compute "); ok {
		text = v
	}
	n, err := strconv.Atoi(strings.TrimPrefix(text, "2."))
	if err != nil {
		return 1
	}
	return n
}

func novaError(code int, kind, message string) answer {
	return answer{status: code, body: map[string]any{kind: map[string]any{"code": code, "message": message}}}
}

func (c *call) nova() answer {
	switch {
	case c.is("GET", "v2.1", "servers", "detail"), c.is("GET", "v2.1", "servers"):
		return c.listServers(len(c.path) == 3)
	case len(c.path) >= 3 && c.path[0] == "v2.1" && c.path[1] == "servers":
		s := c.w.server1(c.path[2])
		if s == nil || !c.who.sees(s.project) {
			return novaError(404, "itemNotFound", fmt.Sprintf("Instance %s could not be found.", c.path[2]))
		}
		switch {
		case c.is("GET", "v2.1", "servers", "*"):
			return answer{status: 200, body: map[string]any{"server": c.server(s, true)}}
		case c.is("POST", "v2.1", "servers", "*", "action"):
			return c.serverAction(s)
		case c.is("GET", "v2.1", "servers", "*", "os-instance-actions"):
			newest := slices.Clone(s.actions)
			slices.Reverse(newest)
			return answer{status: 200, body: map[string]any{"instanceActions": nonNil(newest)}}
		}
	}
	return novaError(404, "itemNotFound", "The resource could not be found.")
}

func (c *call) listServers(detail bool) answer {
	all := c.query.Get("all_tenants")
	everyone := all == "1" || strings.EqualFold(all, "true")
	if everyone && !c.who.lists() {
		return novaError(403, "forbidden", "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed.")
	}
	known, since := c.w.servers, c.query.Get("changes-since")
	if since != "" { // then what is deleted is told of too
		at, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return novaError(400, "badRequest", "Invalid filter field: changes-since.")
		}
		since = at.UTC().Format("2006-01-02T15:04:05Z")
		known = slices.Concat(known, c.w.deleted)
	}
	var rows []*serverRow
	for _, s := range known {
		if (everyone || s.project == c.who.project.ID) && s.updated >= since {
			rows = append(rows, s)
		}
	}
	out, next, ok := page(c, rows, func(s *serverRow) string { return s.id })
	if !ok {
		return novaError(400, "badRequest", "marker ["+c.query.Get("marker")+"] not found")
	}
	list := []any{}
	for _, s := range out {
		list = append(list, c.server(s, detail))
	}
	body := map[string]any{"servers": list}
	if next != "" {
		body["servers_links"] = []any{map[string]string{"rel": "next", "href": c.w.base + c.r.URL.Path + "?" + next}}
	}
	return answer{status: 200, body: body, header: http.Header{"Openstack-Api-Version": {fmt.Sprintf("compute 2.%d", c.minor())}}}
}

// server renders a machine as the microversion wants it.
func (c *call) server(s *serverRow, detail bool) map[string]any {
	links := []any{map[string]string{"rel": "self", "href": c.w.base + "/compute/v2.1/servers/" + s.id}}
	if !detail {
		return map[string]any{"id": s.id, "name": s.name, "links": links}
	}
	state, power := "active", 1
	if s.status != "ACTIVE" {
		state, power = "stopped", 4
	}
	meta := s.metadata
	if meta == nil {
		meta = map[string]string{}
	}
	out := map[string]any{
		"id": s.id, "name": s.name, "status": s.status, "tenant_id": s.project, "user_id": s.user, "metadata": meta, "hostId": "a1b2c3",
		"image": "", "flavor": map[string]any{"original_name": "m1.small", "vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0, "extra_specs": map[string]any{}},
		"created": s.created, "updated": s.updated, "addresses": c.w.addresses(s), "accessIPv4": "", "accessIPv6": "", "links": links, "key_name": nil, "config_drive": "", "progress": 0,
		"OS-DCF:diskConfig": "AUTO", "OS-EXT-AZ:availability_zone": "nova", "OS-EXT-STS:power_state": power, "OS-EXT-STS:task_state": nil, "OS-EXT-STS:vm_state": state,
		"OS-SRV-USG:launched_at": s.created, "OS-SRV-USG:terminated_at": nil,
		"os-extended-volumes:volumes_attached": attached(s.volumes), "security_groups": c.w.groupNames(s),
	}
	if s.image != "" {
		out["image"] = map[string]any{"id": s.image, "links": []any{}}
	}
	if c.minor() >= 9 {
		out["locked"] = s.locked
	}
	if c.minor() >= 26 {
		out["tags"] = nonNil(s.tags)
	}
	if c.minor() >= 73 {
		out["locked_reason"] = nil
		if s.lockedReason != "" {
			out["locked_reason"] = s.lockedReason
		}
	}
	return out
}

func (w *World) addresses(s *serverRow) map[string][]any {
	out := map[string][]any{}
	for _, p := range w.portsOf(s.id) {
		net := find(w.networks, func(n *networkRow) bool { return n.ID == p.NetworkID })
		if net == nil {
			continue
		}
		add := func(addr, kind string) {
			out[net.Name] = append(out[net.Name], map[string]any{"addr": addr, "version": 4, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": p.MAC})
		}
		for _, f := range p.FixedIPs {
			add(f.IPAddress, "fixed")
		}
		for _, f := range w.floating {
			if f.PortID != nil && *f.PortID == p.ID {
				add(f.Address, "floating")
			}
		}
	}
	return out
}

func (w *World) groupNames(s *serverRow) []any {
	out := []any{}
	for _, p := range w.portsOf(s.id) {
		for _, id := range p.SecurityGroups {
			if g := w.groupByID(id); g != nil {
				out = append(out, map[string]string{"name": g.Name})
			}
		}
	}
	return out
}

// serverAction does what the compute API does in its Zed release, with one difference: it is done at once.
func (c *call) serverAction(s *serverRow) answer {
	var q map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &q); err != nil || len(q) != 1 {
		return novaError(400, "badRequest", "There is no such action")
	}
	for name, args := range q {
		if s.locked && !c.who.admin() && slices.Contains([]string{"os-stop", "os-start"}, name) {
			return novaError(409, "conflictingRequest", fmt.Sprintf("Instance %s is locked", s.id))
		}
		a := c.actOn(s, name, args)
		if a.status == 202 && !c.idle {
			c.w.touch(s)
			s.actions = append(s.actions, map[string]any{"action": strings.TrimPrefix(name, "os-"), "instance_uuid": s.id, "request_id": "req-" + c.w.uuidFor("request", c.w.next()),
				"user_id": c.who.user.ID, "project_id": c.who.project.ID, "start_time": time.Now().UTC().Format("2006-01-02T15:04:05.000000"), "message": nil})
			c.w.emit(Event{Kind: "status", Server: s.name, Detail: name})
		}
		return a
	}
	return answer{status: 400}
}

func (c *call) actOn(s *serverRow, name string, args json.RawMessage) answer {
	switch name {
	case "os-stop", "os-start":
		from, to := "ACTIVE", "SHUTOFF"
		if name == "os-start" {
			from, to = to, from
		}
		if s.status != from {
			return novaError(409, "conflictingRequest", fmt.Sprintf("Cannot '%s' instance %s while it is in vm_state %s", strings.TrimPrefix(name, "os-"), s.id, strings.ToLower(s.status)))
		}
		s.status = to
	case "lock":
		var arg struct {
			Reason string `json:"locked_reason"`
		}
		_ = json.Unmarshal(args, &arg)
		owner := s.project == c.who.project.ID // by the token's project, whatever the role
		if s.locked && owner {
			c.idle = true // taken, and nothing is done: an owner locks nothing that is locked
			break
		}
		s.locked, s.lockedReason, s.lockedBy = true, "", "admin"
		if owner {
			s.lockedBy = "owner"
		}
		if c.minor() >= 73 {
			s.lockedReason = arg.Reason
		}
	case "unlock":
		if s.lockedBy == "admin" && !c.who.admin() {
			return novaError(403, "forbidden", "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")
		}
		s.locked, s.lockedReason, s.lockedBy = false, "", ""
	default:
		return novaError(400, "badRequest", "There is no such action: "+name)
	}
	return answer{status: 202}
}

// attached is how Nova lists volumes.
func attached(ids []string) []any {
	out := []any{}
	for _, id := range ids {
		out = append(out, map[string]any{"id": id, "delete_on_termination": false})
	}
	return out
}
