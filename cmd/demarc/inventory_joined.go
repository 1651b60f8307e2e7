package main

import (
	"cmp"
	"context"
	"net/netip"
	"strings"

	"demarc/internal/asset"
	"demarc/internal/probe"
	"demarc/internal/reach"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// connected is the answer where no port holds an address, and a project has joined it to the cloud: there is no machine to charge, and
// somebody to tell.
const connected asset.Whose = "connected"

// joined is a project that has joined an address to a cloud, by a VPN, an extra route or a BGP peer.
type joined struct {
	Cloud string `json:"cloud"`
	reach.Connected
	ProjectName untrusted.Text `json:"project_name,omitzero"`
	Owners      []owner        `json:"owners"`
}

// joinedBy lists who had joined an address at a time, in each cloud. With a tolerance it must have been the same project at both ends of it.
func joinedBy(ctx context.Context, db *store.DB, r *reading, addr netip.Addr, q asked) ([]joined, error) {
	views, err := r.lookingFrom()
	if err != nil {
		return nil, err
	}
	clouds, err := db.Clouds(ctx)
	if err != nil {
		return nil, err
	}
	out := []joined{}
	for _, cloud := range clouds {
		j, ok, err := joinedAt(ctx, db, views, cloud, addr, q.then(q.at))
		if err != nil {
			return nil, err
		}
		for _, end := range []moment{-moment(q.tolerance.Microseconds()), moment(q.tolerance.Microseconds())} {
			if !ok || q.tolerance == 0 {
				break
			}
			other, still, err := joinedAt(ctx, db, views, cloud, addr, q.then(q.at+end))
			if err != nil {
				return nil, err
			}
			ok = still && other.Project == j.Project
		}
		if ok {
			out = append(out, j)
		}
	}
	return out, nil
}

// then is a time of the question, as far as anything was known of it: what is learnt of a router is learnt when it is read.
func (q asked) then(at moment) moment {
	if q.known != 0 {
		return min(at, q.known)
	}
	return at
}

// joinedAt asks one cloud, as it was at a time.
func joinedAt(ctx context.Context, db *store.DB, views []serve.Viewpoint, cloud string, addr netip.Addr, at moment) (joined, bool, error) {
	s, err := db.Snapshot(ctx, cloud, int64(at))
	if err != nil {
		return joined{}, false, err
	}
	x := asset.NewIndex(s)
	for _, v := range views {
		c := reach.Compute(x, v.View).Lookup(probe.Endpoint{Addr: addr, Proto: probe.TCP, Port: 1}).Connected // of the address: any port does
		if c == nil {
			continue
		}
		j := joined{Cloud: cloud, Connected: *c, Owners: ownersOf(x, asset.Binding{Project: c.Project})}
		if p := x.Projects[c.Project]; p != nil {
			j.ProjectName = p.Name
		}
		return j, true, nil
	}
	return joined{}, false, nil
}

// lookingFrom lists the vantage points of the configuration, whose netblocks say what is the cloud's at all. Without one, every public
// address may be.
func (r *reading) lookingFrom() ([]serve.Viewpoint, error) {
	if r.config == "" {
		return []serve.Viewpoint{serve.PointOfView(string(probe.Internet), probe.Internet, netip.Addr{})}, nil
	}
	conf, _, err := serve.Load(r.config)
	if err != nil {
		return nil, err
	}
	return conf.Viewpoints(), nil
}

func writeJoined(s sheet, r *reading, a whoAnswer) {
	for _, j := range a.Connected {
		s.row("address", a.Address.String())
		if a.At != 0 {
			s.row("at", a.time(r)+giveOrTake(a.Tolerance))
		}
		s.row("held", "by no port: it is connected")
		s.row("joined by", "project "+named(j.ProjectName, j.Project).Raw())
		s.row("by", j.Why+", for "+j.Prefix.String())
		s.row("owner", cmp.Or(mails(j.Owners), "no address is known"))
		note := "no machine of the cloud is known to answer there: tell the project"
		if r.config == "" {
			note += "; without a configuration no netblock says that the address is the cloud's"
		}
		s.row("note", note)
		s.gap()
	}
}

// projects names those that joined an address.
func projects(js []joined) string {
	out := make([]string, len(js))
	for i, j := range js {
		out[i] = named(j.ProjectName, j.Project).Terminal() + " in " + j.Cloud
	}
	return strings.Join(out, ", ")
}
