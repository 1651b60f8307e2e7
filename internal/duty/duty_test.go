package duty

import (
	"strings"
	"testing"

	"demarc/internal/asset"
)

func model(t *testing.T) *Model {
	t.Helper()
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The effective holder by layer, as the two documents give it.
func TestTheDefaultModelGivesEachLayerToItsHolder(t *testing.T) {
	m := model(t)
	vm := Resource{Service: "iaas", Architecture: "vm", Contract: "standard"}
	vmExt := Resource{Service: "iaas", Architecture: "vm", Contract: "extended"}
	box := Resource{Service: "paas", Architecture: "container", Contract: "standard"}
	boxExt := Resource{Service: "paas", Architecture: "container", Contract: "extended"}
	paas := Resource{Service: "paas", Architecture: "vm", Contract: "standard"}
	for _, c := range []struct {
		layer  Layer
		aspect Aspect
		res    Resource
		want   Ownership
	}{
		{"datacenter", "maintain", vm, CSPOwned}, {"hypervisor", "maintain", vmExt, CSPOwned}, {"container-engine", "maintain", box, CSPOwned},
		{"guest-os", "maintain", vm, CSCOwned}, {"guest-os", "maintain", vmExt, CSPOwned},
		{"guest-os", "secure", vm, CSCOwned}, {"guest-os", "secure", vmExt, SharedCSPCSC},
		{"binaries-libraries", "maintain", vm, CSCOwned}, {"binaries-libraries", "maintain", vmExt, CSPOwned},
		{"binaries-libraries", "maintain", box, CSCOwned}, {"binaries-libraries", "maintain", boxExt, CSPOwned},
		{"application", "secure", vm, CSCOwned}, {"application", "secure", vmExt, CSCOwned},
		{"application", "secure", box, CSCOwned}, {"application", "secure", boxExt, CSPOwned}, {"application", "secure", paas, SharedCSPCSC},
		{"network-controls", "secure-default", vm, CSPOwned}, {"network-controls", "provide-capability", vm, CSPOwned},
		{"network-controls", "configure", vm, CSCOwned}, {"network-controls", "configure", paas, SharedCSPCSC},
		{"accounts", "secure", vm, CSCOwned}, {"data", "maintain", vm, CSCOwned}, {"data", "provide-capability", vm, CSPOwned},
		{"guest-os", "maintain", paas, CSPOwned}, {"identity-directory", "provide-capability", vm, CSCOwned}, {"access", "provide-capability", vm, CSPOwned},
	} {
		got := m.Resolve(c.layer, c.aspect, c.res)
		if got.Ownership != c.want || got.Reason == "" || got.Assignment == "" {
			t.Errorf("%s/%s for %v: %s by %s, want %s", c.layer, c.aspect, c.res, got.Ownership, got.Assignment, c.want)
		}
	}
	if len(m.Table) != 10 {
		t.Errorf("the published table has ten rows, the model %d", len(m.Table))
	}
}

func TestAModelThatDoesNotDecideIsRefused(t *testing.T) {
	good := string(defaultModel)
	for name, c := range map[string]struct{ old, new, want string }{
		"hole":               {"  - {id: devices, layer: devices,", "  - {id: devices, layer: devices, when: {service: paas},", "nobody holds devices"},
		"tie":                {"{id: guest-os-paas, layer: guest-os, when: {service: paas,", "{id: guest-os-paas, layer: guest-os, when: {service: iaas,", "both hold guest-os"},
		"half shared":        {"    provider: operate the platform's own filters\n", "", "does not say both parts"},
		"layer":              {"layer: devices", "layer: devises", "unknown layer"},
		"aspect":             {"    layer: guest-os\n    aspects: [maintain]", "    layer: guest-os\n    aspects: [mend]", "unknown aspect"},
		"repeated id":        {"id: accounts,", "id: access,", "used twice"},
		"unknown key":        {"version: 3", "version: 3\ncolour: red", "default.yaml"},
		"table":              {"group: varies-by-type, ownership: {paas: csp-owned, iaas: csc-owned}}", "group: varies-by-type, ownership: {paas: csc-owned, iaas: csc-owned}}", "the table says that operating-system is csc-owned under paas"},
		"contradiction":      {"{id: governance, layer: governance, ownership: csc-owned,", "{id: governance, layer: governance, ownership: csp-owned,", "duty S0-16 says that customer holds governance/govern"},
		"customer's contact": {"{id: customer, role: customer, name: The project that owns the resource}", "{id: customer, role: customer, name: x, contacts: {security: a@b.example}}", "contacts are given for the customer"},
		"tag twice":          {"  - {id: governance, layer: governance,", "  - {id: governance, layer: governance, when: {tags: [a=b, a=b]},", "tag a=b is used twice"},
		"no ownership":       {"ownership: csp-owned, duty: S0-10", "duty: S0-10", "unknown ownership"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the case does not change the model")
			}
			_, err := Parse("default.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAContractStandsFromItsFirstToItsLastInstant(t *testing.T) {
	m, err := model(t).With([]Contract{{ID: "c1", Type: "extended", Scope: Scope{Projects: []asset.ProjectID{"p"}}, From: 10, To: 20}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]string{9: "standard", 10: "extended", 19: "extended", 20: "standard"} {
		if got := m.Describe(Resource{Project: "p"}, at); got.Contract != want {
			t.Errorf("at %d: %s, want %s", at, got.Contract, want)
		}
	}
	if got := m.Describe(Resource{Project: "q"}, 15); got.Contract != "standard" {
		t.Errorf("another project: %s", got.Contract)
	}
}
