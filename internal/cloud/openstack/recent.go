package openstack

import (
	"context"
	"net/url"
	"slices"
	"time"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// Nova compares changes-since with the times in its rows. Those are written by conductors, whose clocks may differ from that of
// the API's host, which writes the Date of an answer; neither need agree with ours.
const (
	// novaSkew is by how much the clocks of Nova's own hosts may differ; what is older is believed to be over. Nova itself takes a
	// service for dead whose clock is off by more than a minute (service_down_time).
	novaSkew = 5 * time.Minute
	// overlap is how far back a reading looks behind the last one: a row gets its time a moment before it can be read.
	overlap = 2 * time.Minute
)

// recently are the kinds that Recent reads.
var recently = []string{"servers", "groups", "address_sets", "floating_ips"}

// Recent implements cloud.Reader.
func (c *Cloud) Recent(ctx context.Context, since int64, now func() int64) (*asset.Snapshot, error) {
	if since <= 0 {
		return nil, fault.New(fault.Refused, "cloud %s: no earlier reading says since when to look for changes", c.conf.Cloud).Hinted("read the whole cloud first")
	}
	r := c.begin(ctx, now())
	r.snap.Only = slices.Clone(recently)
	from := time.UnixMicro(since).Add(-overlap).UTC().Truncate(time.Second)
	r.servers(url.Values{"changes-since": {from.Format(time.RFC3339)}})
	r.groups()
	r.floating()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r.unread["servers/detail"] && r.unread["security-groups"] && r.unread["floatingips"] && len(r.snap.Servers)+len(r.snap.Groups)+len(r.snap.FloatingIPs) == 0 {
		return nil, fault.New(fault.Unavailable, "cloud %s: nothing could be read: %s", c.conf.Cloud, r.snap.Gaps[0].Reason)
	}
	r.snap.NovaClock = r.novaClock(since)
	r.snap.Ended = now()
	return r.snap, nil
}

// novaClock is where the next reading of changes goes on: at the last change that Nova's rows tell of, which is by the clock that
// will write the next one too, but not further behind the API's own clock than Nova's clocks may differ, and not before it. Where
// servers were not read to their end it does not move.
func (r *reading) novaClock(before int64) int64 {
	if slices.ContainsFunc(r.snap.Gaps, func(g asset.Gap) bool { return g.Kind == "servers" }) {
		return before
	}
	at := max(before, r.changed)
	if said := r.began[r.c.compute]; said > 0 {
		at = min(max(at, said-novaSkew.Microseconds()), said)
	}
	return at
}
