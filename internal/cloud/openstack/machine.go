package openstack

import (
	"context"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/asset"
	"demarc/internal/casework"
	"demarc/internal/fault"
)

// wireAction is a row of Nova's memory of what was done to a server (GET /servers/{id}/os-instance-actions).
type wireAction struct {
	Action    string
	RequestID string `json:"request_id"`
	UserID    string `json:"user_id"`
	StartTime string `json:"start_time"`
}

func (w wireAction) asset() asset.ServerAction {
	return asset.ServerAction{Request: w.RequestID, Action: w.Action, User: asset.UserID(w.UserID), At: micros(w.StartTime)}
}

// Machine implements cloud.Actor.
func (c *Cloud) Machine(ctx context.Context, id asset.ServerID) (asset.Server, []asset.ServerAction, error) {
	s, err := c.server(ctx, id)
	if err != nil {
		return s, nil, err
	}
	var body struct {
		Actions []wireAction `json:"instanceActions"`
	}
	// From 2.58 on the list comes in pages, the newest first; the first page holds whatever an order of ours could have done.
	if err := c.get(ctx, c.compute, c.compute.ServiceURL("servers", url.PathEscape(string(id)), "os-instance-actions"), &body); err != nil {
		return s, nil, err
	}
	var out []asset.ServerAction
	for _, w := range body.Actions {
		a := w.asset()
		a.Ours = c.user != "" && w.UserID == c.user
		out = append(out, a)
	}
	return s, out, nil
}

// Account implements cloud.Actor.
func (c *Cloud) Account() asset.UserID { return asset.UserID(c.user) }

// longestReason is what Nova stores of a lock's reason (microversion 2.73: a string of at most 255 characters).
const longestReason = 255

// Do implements cloud.Actor.
func (c *Cloud) Do(ctx context.Context, id asset.ServerID, do casework.MachineDo, reason string) error {
	body := map[string]any{}
	switch do {
	case casework.DoStop:
		body["os-stop"] = nil
	case casework.DoStart:
		body["os-start"] = nil
	case casework.DoUnlock:
		body["unlock"] = nil
	case casework.DoLock: // gophercloud's own has no reason
		if c.minor < wantedMicroversion {
			return fault.New(fault.Refused, "cloud %s: Nova is older than microversion 2.%d, and a lock could not say why", c.conf.Cloud, wantedMicroversion)
		}
		r := []rune(reason)
		body["lock"] = map[string]any{"locked_reason": string(r[:min(len(r), longestReason)])}
	default:
		return fault.New(fault.Refused, "nothing called %q is done to a machine", string(do))
	}
	return c.change(ctx, c.compute, "POST", c.compute.ServiceURL("servers", url.PathEscape(string(id)), "action"), &gophercloud.RequestOpts{JSONBody: body, OkCodes: []int{202}})
}
