package openstack_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"demarc/internal/cloud/openstack"
	"demarc/internal/fault"
	"demarc/internal/lab"
)

func TestAnAccountTellsWhomItIs(t *testing.T) {
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	sc := lab.DemoScenario()
	sc.AppCreds = append(sc.AppCreds, lab.AppCred{ID: "reads", Name: "reads", Secret: "s", User: lab.DemoUser, Project: lab.DemoProject, ReadOnly: true, Expires: ends})
	b := setupIn(t, sc)
	if a := b.Self(t.Context()); !a.Admin() || a.Credential != "" || a.Ruled || !a.Changes || a.Projects != 1 || a.Expires != 0 || a.System || !a.HoldsByLock || a.Project.Raw() != lab.DemoProject || a.Issued == 0 {
		t.Errorf("%+v", a)
	}
	b = setupIn(t, sc, func(c *openstack.Config) { c.Username, c.Password, c.AppCredID, c.AppCredSecret = "", "", "reads", "s" })
	if a := b.Self(t.Context()); !a.Admin() || a.Credential != "reads" || !a.Ruled || a.Changes || a.Expires != ends.UnixMicro() {
		t.Errorf("%+v", a)
	}
	b = setup(t, func(c *openstack.Config) { c.Username, c.Project = "alice", "astro" })
	if a := b.Self(t.Context()); a.Admin() || !slices.Equal(a.Roles, []string{"manager"}) {
		t.Errorf("%+v", a)
	}
}

// What an account sees is told for each service, and machines that Nova lists are asked of Neutron by name.
func TestSightsTellAnEmptyListFromNothing(t *testing.T) {
	look := func(user, project string) map[string]openstack.Sight {
		b := setup(t, func(c *openstack.Config) { c.Username, c.Project = user, project })
		out := map[string]openstack.Sight{}
		for _, s := range b.Sights(t.Context()) {
			out[s.Service] = s
		}
		return out
	}
	if s := look(lab.DemoUser, lab.DemoProject); s["network"].Others == 0 || s["network"].Blind != 0 || s["network"].Asked == 0 || s["compute"].Others == 0 || s["identity"].Others != 5 {
		t.Errorf("the administrator: %+v", s)
	}
	if s := look("auditor", lab.DemoProject); s["network"].Others != 0 || s["network"].Err != nil || s["network"].Blind != s["network"].Asked || s["network"].Asked == 0 {
		t.Errorf("the auditor: %+v", s)
	}
	if s := look("alice", "astro"); s["identity"].Err == nil || s["compute"].Err == nil || s["network"].Err != nil || s["network"].Others != 0 {
		t.Errorf("a tenant: %+v", s)
	}
}

// TestRealWeakAccounts: on a real cloud, named by DEMARC_REAL_CLOUDS as for TestRealCloud, an account that sees too little never
// gives a reading that looks whole.
func TestRealWeakAccounts(t *testing.T) {
	path := os.Getenv("DEMARC_REAL_CLOUDS")
	if path == "" {
		t.Skip("DEMARC_REAL_CLOUDS is not set")
	}
	for _, name := range []string{"reader", "auditor", "auditor-system"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf, err := openstack.FromCloudsYAML(path, name)
			if err != nil {
				t.Fatal(err)
			}
			conf.Retries, conf.MaxWait = 1, 100*time.Millisecond
			c, err := openstack.Connect(t.Context(), conf)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s, err := c.Snapshot(t.Context(), now)
			switch {
			case fault.Is(err, fault.Unavailable):
				t.Logf("nothing could be read: %v", err)
			case err != nil:
				t.Error(err)
			case s.Complete():
				t.Errorf("it looks whole: %s", counts(s))
			default:
				t.Logf("%s, %d gaps, the first: %+v", counts(s), len(s.Gaps), s.Gaps[0])
			}
		})
	}
}
