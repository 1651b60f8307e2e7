package duty

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// What the embedded model says is kept under its version: a server that has charged by it does not start with other words.
func TestTheDefaultModelKeepsItsWords(t *testing.T) {
	m := model(t)
	said := map[int]string{
		1: "c577ec6e152be0a114afab1447bc05c9c40eb11f2c78945eecef13a00d1d5b06",
		2: "ef74854e7d2b9f4c5533fb9d39a2122c0db6ebd87b1c36b911f39c3929500070",
		3: "d86b2e4b6abeac41913b6823154ddc79a94f008962f0513d79d5f2f543694cf2",
	}
	switch was, known := said[m.Version]; {
	case !known:
		t.Errorf("version %d of the embedded model is new: add the line %d: %q,", m.Version, m.Version, m.Hash())
	case was != m.Hash():
		t.Errorf("version %d of the embedded model says something else than it did (now %s): raise version: in model/default.yaml, and add its line here", m.Version, m.Hash())
	}
}

// A model is the same whatever its format, its comments and its line ends.
func TestTheHashIsOfWhatAModelSays(t *testing.T) {
	m := model(t)
	texts := written(t, m)
	texts["comment.yaml"] = []byte("# more\n" + string(defaultModel) + "# and more")
	texts["lines.yaml"] = bytes.ReplaceAll(defaultModel, []byte("\n"), []byte("\r\n"))
	texts["quotes.yaml"] = bytes.Replace(defaultModel, []byte("id: default"), []byte(`id: "default"`), 1)
	texts["empty.yaml"] = append([]byte("contracts: []\n"), defaultModel...)
	for name, text := range texts {
		if bytes.Equal(text, defaultModel) {
			t.Fatalf("%s is the model as it was", name)
		}
		got, err := Parse(name, text)
		if err != nil || got.Hash() != m.Hash() || got.Text() != string(text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range [][2]string{{"title: client", "title: the client"}, {"version: 3", "version: 4"}, {"[standard, extended]", "[extended, standard]"}} {
		text := strings.Replace(string(defaultModel), c[0], c[1], 1)
		if got, err := Parse("m.yaml", []byte(text)); err != nil || text == string(defaultModel) || got.Hash() == m.Hash() {
			t.Errorf("%s: %v", c[1], err)
		}
	}
}

// A byte that no ledger keeps is refused in every format, wherever it stands, with its place.
func TestWhatIsNoTextIsRefused(t *testing.T) {
	m := model(t)
	for name, text := range written(t, m) {
		for what, bad := range map[string]string{"NUL": "\x00", "not UTF-8": "\xff"} {
			b := bytes.Replace(text, []byte("NexGen"), []byte("Nex"+bad+"Gen"), 1)
			at := bytes.IndexByte(b, bad[0])
			want := fmt.Sprintf("%s:%d:%d: ", name, 1+bytes.Count(b[:at], []byte("\n")), at-bytes.LastIndexByte(b[:at], '\n'))
			if _, err := Parse(name, b); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s with %s: got %v, want it at %s", name, what, err, want)
			}
		}
	}
	for _, bad := range []string{"\x00", "\xff"} {
		if _, err := Parse("m.yaml", []byte("# a comment "+bad+"\n"+string(defaultModel))); err == nil || !strings.HasPrefix(err.Error(), "m.yaml:1:13: ") {
			t.Errorf("in a comment: %v", err)
		}
	}
}

// The ten rows of the published table, as they were read from it: testdata/matrix.json is not made from the model.
func TestTheTableIsThePublishedOne(t *testing.T) {
	b, err := os.ReadFile("testdata/matrix.json")
	if err != nil {
		t.Fatal(err)
	}
	var published struct {
		Values map[string]Ownership
		Rows   []struct{ Group, ID, Title, PaaS, IaaS string }
	}
	if err := json.Unmarshal(b, &published); err != nil {
		t.Fatal(err)
	}
	m := model(t)
	if len(m.Table) != 10 || len(published.Rows) != 10 {
		t.Fatalf("%d rows, and %d are published", len(m.Table), len(published.Rows))
	}
	for i, p := range published.Rows {
		got := m.Table[i]
		if got.Area != p.ID || got.Title != p.Title || got.Group != p.Group || got.Ownership["iaas"] != published.Values[p.IaaS] || got.Ownership["paas"] != published.Values[p.PaaS] || len(got.Ownership) != 2 {
			t.Errorf("row %d is %+v, published is %+v", i+1, got, p)
		}
	}
}

// Who holds what of each layer, in the four cases that the sources tell apart. A group is the aspects that share an answer.
func TestEveryLayerHasItsHolder(t *testing.T) {
	m := model(t)
	const (
		p = "provider"
		c = "customer"
		s = "shared"
		n = "none"
	)
	kinds := []Resource{{Service: "iaas", Architecture: "vm", Contract: "standard"}, {Service: "iaas", Architecture: "vm", Contract: "extended"},
		{Service: "iaas", Architecture: "container", Contract: "standard"}, {Service: "iaas", Architecture: "container", Contract: "extended"}}
	every := Aspects
	but := func(not ...Aspect) []Aspect {
		return slices.DeleteFunc(slices.Clone(Aspects), func(a Aspect) bool { return slices.Contains(not, a) })
	}
	told := map[Layer]bool{}
	for _, row := range []struct {
		what    string
		layers  []Layer
		aspects []Aspect
		want    [4]string
	}{
		{"data centre, hardware, physical network", []Layer{"datacenter", "physical", "physical-network"}, every, [4]string{p, p, p, p}},
		{"hypervisor, host system, cloud backend", []Layer{"hypervisor", "host-os", "platform"}, every, [4]string{p, p, p, p}},
		{"container engine, and the system that containers share", []Layer{"container-engine", "container-host-os"}, every, [4]string{n, n, p, p}},
		{"guest system: maintain", []Layer{"guest-os"}, []Aspect{"maintain"}, [4]string{c, p, n, n}},
		{"guest system: secure and configure", []Layer{"guest-os"}, []Aspect{"secure", "configure"}, [4]string{c, s, n, n}},
		{"guest system: the rest", []Layer{"guest-os"}, but("maintain", "secure", "configure"), [4]string{c, c, n, n}},
		{"binaries and libraries", []Layer{"binaries-libraries"}, every, [4]string{c, p, c, p}},
		{"applications", []Layer{"application"}, every, [4]string{c, c, c, p}},
		{"firewalls that are closed by default", []Layer{"network-controls"}, []Aspect{"provide-capability", "secure-default"}, [4]string{p, p, p, p}},
		{"firewall rules", []Layer{"network-controls"}, but("provide-capability", "secure-default"), [4]string{c, c, c, c}},
		{"accounts, keys, passwords; devices; directories of one's own", []Layer{"accounts", "devices", "identity-directory"}, every, [4]string{c, c, c, c}},
		{"MFA at the login", []Layer{"access"}, []Aspect{"provide-capability"}, [4]string{p, p, p, p}},
		{"roles", []Layer{"access"}, but("provide-capability"), [4]string{c, c, c, c}},
		{"the platform's protection of data", []Layer{"data"}, []Aspect{"provide-capability"}, [4]string{p, p, p, p}},
		{"backup, encryption", []Layer{"data"}, but("provide-capability"), [4]string{c, c, c, c}},
		{"the law", []Layer{"governance"}, every, [4]string{c, c, c, c}},
		{"logs for support", []Layer{"support"}, []Aspect{"respond"}, [4]string{c, c, c, c}},
		{"support", []Layer{"support"}, but("respond"), [4]string{p, p, p, p}},
		{"letting the probes in", []Layer{"assurance"}, []Aspect{"configure"}, [4]string{c, c, c, c}},
		{"probing", []Layer{"assurance"}, but("configure"), [4]string{p, p, p, p}},
		{"mending", []Layer{"case"}, []Aspect{"secure"}, [4]string{c, c, c, c}},
		{"advice of a compromise", []Layer{"case"}, []Aspect{"monitor"}, [4]string{"cert", "cert", "cert", "cert"}},
		{"telling, warning, disabling", []Layer{"case"}, but("secure", "monitor"), [4]string{p, p, p, p}},
	} {
		for i, kind := range kinds {
			shares := m.Division(kind)
			for _, l := range row.layers {
				told[l] = true
				for _, x := range row.aspects {
					k := slices.IndexFunc(shares, func(s Share) bool { return s.Layer == l && slices.Contains(s.Aspects, x) })
					if k < 0 || shares[k].Holder != row.want[i] || shares[k].Reason == "" || shares[k].Duty == "" && row.want[i] != n {
						t.Errorf("%s, %s/%s for %s: %+v, want %s", row.what, l, x, kind.Kind(), shares[max(k, 0)], row.want[i])
					}
				}
			}
		}
	}
	if len(told) != len(Layers) {
		t.Errorf("%d of %d layers are told of", len(told), len(Layers))
	}
}

// Under PaaS the table decides for virtual machines: what it calls shared is shared, and says both parts.
func TestTheTableAndTheLayersAgreeUnderPaaS(t *testing.T) {
	m := model(t)
	for _, service := range m.ServiceTypes {
		kind := m.Plain()
		kind.Service = service
		for l, area := range map[Layer]string{"data": "information-and-data", "devices": "devices", "accounts": "accounts-and-identities", "identity-directory": "identity-directory-infrastructure",
			"application": "applications", "network-controls": "network-controls", "guest-os": "operating-system", "physical": "physical-servers", "physical-network": "physical-network", "datacenter": "physical-datacenter"} {
			i := slices.IndexFunc(m.Table, func(a Area) bool { return a.Area == area })
			if got := m.Resolve(l, "secure", kind); got.Ownership != m.Table[i].Ownership[service] {
				t.Errorf("%s under %s is %s by layer and %s in the table", l, service, got.Ownership, m.Table[i].Ownership[service])
			} else if got.Party == Shared && (got.Provider == "" || got.Customer == "") {
				t.Errorf("%s under %s is shared and does not say both parts", l, service)
			}
		}
	}
}

// Every duty says where it comes from and how it can be known, and every contradiction how it is resolved.
func TestTheDefaultModelIsComplete(t *testing.T) {
	m := model(t)
	if len(m.Duties) != 64 || len(m.Conflicts) != 8 {
		t.Errorf("%d duties and %d contradictions", len(m.Duties), len(m.Conflicts))
	}
	rows := map[string]bool{}
	for i := range m.Duties {
		d := &m.Duties[i]
		rows[d.Area] = true
		if len(d.Frameworks["sp800-53"]) == 0 {
			t.Errorf("%s has no control", d.ID)
		}
		if d.Evidence == Observed && d.Observable == "" && len(d.Checks) == 0 && d.Source.Document == "nexgen-srm" {
			t.Errorf("%s is observed and does not say by what", d.ID)
		}
		if len(m.Deciding(d)) == 0 {
			t.Errorf("nothing decides about %s", d.ID)
		}
	}
	for _, a := range m.Table {
		if !rows[a.Area] {
			t.Errorf("no duty belongs to the row %s", a.Area)
		}
	}
	for i, k := range m.Conflicts {
		if want := "C" + string(rune('1'+i)); k.ID != want || len(k.Duties) == 0 {
			t.Errorf("contradiction %s, want %s, about duties %v", k.ID, want, k.Duties)
		}
	}
}
