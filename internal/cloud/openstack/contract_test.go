package openstack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"demarc/internal/asset"
	"demarc/internal/cloud/cloudtest"
	"demarc/internal/cloud/openstack"
	"demarc/internal/lab"
)

// TestContract holds the driver to what cloud.Reader and cloud.Actor promise, on the pretend cloud.
func TestContract(t *testing.T) {
	b := setup(t)
	server := "cache-1"
	hand := func(user, project string) *hand { return login(t, b.AuthURL(), user, lab.DemoPassword, project) }
	cloudtest.Run(t, &cloudtest.Bed{Reader: b.Cloud, Actor: b.Cloud, Server: asset.ServerID(b.ServerID(server)), Addr: b.At(netip.MustParseAddr("127.77.1.10")),
		Nobody: netip.MustParseAddr("127.77.99.99"), Tenant: hand("amir", "astro"), Home: hand(lab.DemoUser, lab.DemoProject),
		Share: func(_ context.Context, _ asset.GroupID, shared bool) error {
			return b.ShareGroup(lab.DemoProject, "demarc-exam", shared)
		}})
}

// TestRealContract holds the driver to the same on a real cloud: DEMARC_REAL_CLOUDS names a clouds.yaml with the accounts of the test
// cloud, and DEMARC_REAL_SERVER a running machine with one port and a floating IP, DEMARC_REAL_TENANT the entry of a member of its
// project.
func TestRealContract(t *testing.T) {
	r := real(t)
	cloudtest.Run(t, &cloudtest.Bed{Reader: r.reads, Actor: r.acts, Server: r.server, Addr: r.addr, Nobody: netip.MustParseAddr("192.0.2.99"),
		Tenant: r.tenant, Home: r.admin, Share: func(ctx context.Context, group asset.GroupID, shared bool) error {
			return r.admin.share(ctx, string(group), shared)
		}})
	g, err := r.acts.EnsureQuarantine(t.Context(), cloudtest.Spec())
	if err != nil {
		t.Fatal(err)
	}
	r.admin.do(t.Context(), "DELETE", r.admin.network+"/security-groups/"+string(g), "", nil)
}

// reality is a real cloud with the accounts that an exam needs.
type reality struct {
	reads, acts   *openstack.Cloud
	tenant, admin *hand
	server        asset.ServerID
	addr          netip.Addr
	auth          openstack.Config // of the account that acts
}

func real(t *testing.T) reality {
	t.Helper()
	path, name, tenant := os.Getenv("DEMARC_REAL_CLOUDS"), os.Getenv("DEMARC_REAL_SERVER"), os.Getenv("DEMARC_REAL_TENANT")
	if path == "" || name == "" || tenant == "" {
		t.Skip("DEMARC_REAL_CLOUDS, DEMARC_REAL_SERVER and DEMARC_REAL_TENANT are not set")
	}
	read := func(entry string) openstack.Config {
		c, err := openstack.FromCloudsYAML(path, entry)
		if err != nil {
			t.Fatal(err)
		}
		c.PageSize = 3
		return c
	}
	open := func(entry string) *openstack.Cloud {
		c, err := openstack.Connect(t.Context(), read(entry))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	sign := func(entry string) *hand {
		c := read(entry)
		return login(t, c.AuthURL, c.Username, c.Password, c.Project)
	}
	r := reality{reads: open("demarc-inventory"), acts: open("demarc-enforce"), tenant: sign(tenant), admin: sign("admin"), auth: read("demarc-enforce")}
	s, err := r.reads.Snapshot(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Servers, func(s asset.Server) bool { return s.Name.Raw() == name })
	if i < 0 {
		t.Fatalf("there is no server %s", name)
	}
	r.server = s.Servers[i].ID
	x := asset.NewIndex(s)
	if ps := x.PortsOf[r.server]; len(ps) == 1 && len(x.FloatingOf[ps[0].ID]) == 1 {
		r.addr = x.FloatingOf[ps[0].ID][0].Addr
	}
	return r
}

// hand uses a cloud by its HTTP API alone.
type hand struct {
	client           *http.Client
	token            string
	compute, network string
}

func login(t *testing.T, auth, user, password, project string) *hand {
	t.Helper()
	h := &hand{client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}}
	t.Cleanup(h.client.CloseIdleConnections)
	domain := map[string]any{"name": "Default"}
	body, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{"name": user, "domain": domain, "password": password}}},
		"scope":    map[string]any{"project": map[string]any{"name": project, "domain": domain}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Token struct {
			Catalog []struct {
				Type      string
				Endpoints []struct{ Interface, URL string }
			}
		}
	}
	status, header := h.ask(t.Context(), "POST", auth+"/auth/tokens", string(body), &answer)
	if status != 201 {
		t.Fatalf("a token for %s: HTTP %d", user, status)
	}
	h.token = header.Get("X-Subject-Token")
	for _, s := range answer.Token.Catalog {
		for _, e := range s.Endpoints {
			switch {
			case e.Interface != "public":
			case s.Type == "compute":
				h.compute = e.URL
			case s.Type == "network":
				h.network = e.URL + "/v2.0"
			}
		}
	}
	return h
}

func (h *hand) ask(ctx context.Context, method, url, body string, into any) (int, http.Header) {
	q, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("X-Auth-Token", h.token)
	q.Header.Set("OpenStack-API-Version", "compute 2.73")
	res, err := h.client.Do(q)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close() //nolint:errcheck // a test
	if into != nil {
		_ = json.NewDecoder(res.Body).Decode(into)
	}
	return res.StatusCode, res.Header
}

func (h *hand) do(ctx context.Context, method, url, body string, into any) int {
	s, _ := h.ask(ctx, method, url, body, into)
	return s
}

func (h *hand) SetGroups(ctx context.Context, port asset.PortID, groups []asset.GroupID) int {
	b, err := json.Marshal(map[string]any{"port": map[string]any{"security_groups": groups}})
	if err != nil {
		return 0
	}
	return h.do(ctx, "PUT", h.network+"/ports/"+string(port), string(b), nil)
}

func (h *hand) Action(ctx context.Context, server asset.ServerID, body string) int {
	return h.do(ctx, "POST", h.compute+"/servers/"+string(server)+"/action", body, nil)
}

func (h *hand) SeeGroup(ctx context.Context, group asset.GroupID) int {
	return h.do(ctx, "GET", h.network+"/security-groups/"+string(group), "", nil)
}

func (h *hand) AddRule(ctx context.Context, group asset.GroupID) int {
	return h.do(ctx, "POST", h.network+"/security-group-rules", `{"security_group_rule": {"security_group_id": "`+string(group)+`", "direction": "ingress", "ethertype": "IPv4"}}`, nil)
}

// share makes and unmakes the RBAC policy that shows a group to all projects.
func (h *hand) share(ctx context.Context, group string, shared bool) error {
	if shared {
		if s := h.do(ctx, "POST", h.network+"/rbac-policies", `{"rbac_policy": {"object_type": "security_group", "object_id": "`+group+`", "action": "access_as_shared", "target_tenant": "*"}}`, nil); s != 201 {
			return fmt.Errorf("an RBAC policy: HTTP %d", s)
		}
		return nil
	}
	var body struct {
		Policies []struct{ ID string } `json:"rbac_policies"`
	}
	h.do(ctx, "GET", h.network+"/rbac-policies?object_id="+group+"&action=access_as_shared", "", &body)
	for _, p := range body.Policies {
		if s := h.do(ctx, "DELETE", h.network+"/rbac-policies/"+p.ID, "", nil); s != 204 {
			return fmt.Errorf("an RBAC policy is not deleted: HTTP %d", s)
		}
	}
	return nil
}
