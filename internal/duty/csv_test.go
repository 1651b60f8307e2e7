package duty

import (
	"reflect"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/fault"
)

// spoken is what a model says, without what is worked out from it.
func spoken(m *Model) Model {
	return Model{ID: m.ID, Version: m.Version, Title: m.Title, Documents: m.Documents, ServiceTypes: m.ServiceTypes, Architectures: m.Architectures,
		ContractTypes: m.ContractTypes, Parties: m.Parties, Table: m.Table, Conflicts: m.Conflicts, Duties: m.Duties, Assignments: m.Assignments,
		Contracts: m.Contracts, Offerings: m.Offerings}
}

// written is a model in every format, by the name of a file.
func written(t interface {
	Helper()
	Fatal(...any)
}, m *Model) map[string][]byte {
	t.Helper()
	sheet, err := m.CSV()
	if err != nil {
		t.Fatal(err)
	}
	object, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"m.yaml": m.YAML(), "m.json": object, "m.csv": sheet}
}

func TestAModelIsTheSameInEveryFormat(t *testing.T) {
	m := model(t)
	more, err := m.With([]Contract{{ID: "c-1", Type: "extended", From: 1767225600000001, To: 1798761600000000, Scope: Scope{Projects: []asset.ProjectID{"p 1", "p-2"}, Servers: []asset.ServerID{"s-1"}}},
		{ID: "c-2", Type: "standard", Renews: "c-1", From: 1798761600000000, Party: `Dr. "Ångström", Ltd.`}},
		[]Offering{{ID: "o-1", Service: "paas", Architecture: "container", Scope: Scope{Domains: []asset.DomainID{"true"}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Model{m, more} {
		for name, text := range written(t, m) {
			got, err := Parse(name, text)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
			if a, b := spoken(m), spoken(got); !reflect.DeepEqual(a, b) {
				t.Errorf("%s says something else:\n%+v\n%+v", name, a, b)
			}
		}
	}
}

func sheetOf(t *testing.T) string {
	t.Helper()
	b, err := model(t).CSV()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestASheetMayComeFromASpreadsheet(t *testing.T) {
	text := sheetOf(t)
	line, _, _ := strings.Cut(text, "\n")
	empty := strings.Repeat(",", strings.Count(line, ","))
	for name, c := range map[string]string{
		"CRLF":       strings.ReplaceAll(text, "\n", "\r\n"),
		"BOM":        "\ufeff" + text,
		"empty rows": text + empty + "\n\n" + empty + "\n",
		"blanks":     strings.Replace(text, "provide-capability;secure-default", "provide-capability ; secure-default", 1),
	} {
		m, err := Parse("m.csv", []byte(c))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(spoken(m), spoken(model(t))) {
			t.Errorf("%s: another model", name)
		}
	}
}

// Every mistake in a sheet has its place, the same ones as in a document among them.
func TestASheetThatIsWrongIsRefusedWithItsPlace(t *testing.T) {
	good := sheetOf(t)
	row := func(start string) (line int, text string) {
		for i, l := range strings.Split(good, "\n") {
			if strings.HasPrefix(l, start) {
				return i + 1, l
			}
		}
		t.Fatalf("no row %q", start)
		return 0, ""
	}
	for name, c := range map[string]struct {
		start, old, new string // in the row that starts so
		col             string // the column the place is in
		want, hint      string
	}{
		"unknown column":     {"record,", ",holder,", ",owner,", ",owner,", `unknown column "owner"`, "duty export"},
		"repeated column":    {"record,", ",holder,", ",strength,", ",strength,strength", "the column strength is there twice", ""},
		"formula in header":  {"record,", ",holder,", ",=holder,", ",=holder,", "formula", "spreadsheet"},
		"unknown record":     {"duty,S0-14,", "duty,", "task,", "task,", `unknown record "task"`, "one of model, document"},
		"foreign column":     {"party,cert,", "party,cert,,", "party,cert,3,", "3,", "a row of kind party has no version", "leave the cell empty"},
		"formula":            {"duty,S0-14,", "manage own data: backup", "=cmd|'/c calc'!A1", "=cmd", "formula", "a spreadsheet would run it"},
		"formula after tab":  {"duty,S0-14,", "manage own data: backup", "\"\t=1+1\"", "\"\t", "formula", ""},
		"formula at sign":    {"duty,S0-14,", "manage own data: backup", "@SUM(A1)", "@SUM", "formula", ""},
		"formula minus":      {"model,default,3", ",3,", ",-1,", "-1,", "formula", ""},
		"full-width formula": {"duty,S0-14,", "manage own data: backup", " ＝1", " ＝1", "formula", ""},
		"number":             {"model,default,3", ",3,", ",1e9,", "1e9,", `"1e9" is no number`, ""},
		"bool":               {"conflict,C3,", ",true,", ",TRUE!,", "TRUE!,", "neither true nor false", ""},
		"empty entry":        {"assignment,network-capability,", "provide-capability;secure-default", "provide-capability;;secure-default", "provide-capability;;", "empty entry", "one semicolon"},
		"unknown service":    {"assignment,identity-paas,", ",paas,", ",saas,", "saas,", `unknown service "saas"`, "one of [iaas paas]"},
		"unknown aspect":     {"assignment,guest-os-extended-maintain,", ",maintain,", ",mend,", "mend,", `unknown aspect "mend"`, ""},
		"unknown duty":       {"assignment,identity-paas,", ",S0-38,", ",S9-99,", "S9-99,", "no duty of the model", ""},
		"no document":        {"duty,S0-14,", ",nexgen-srm,", ",none-such,", "none-such,", "no document of the model", ""},
		"bad quote":          {"duty,S0-14,", "manage own data: backup", `manage "own" data`, `"own" data`, "bare \"", "doubled"},
		"another count":      {"duty,S0-14,", "manage own data: backup", "manage, own data: backup", "duty,", "wrong number of fields", "as many cells"},
		"second model":       {"party,cert,", "party,cert,", "model,cert,", "model,", "a second row", ""},
		"control character":  {"duty,S0-14,", "manage own data: backup", "manage\x01 own data", "manage", "does not print", ""},
		"control":            {"duty,S0-14,", ",CP-9,", ",CP\x019,", "CP", "does not print", ""},
		"not UTF-8":          {"duty,S0-14,", "manage own data: backup", "manag\xe9", "\xe9", "not UTF-8", "CSV UTF-8"},
		"huge cell":          {"duty,S0-14,", "manage own data: backup", strings.Repeat("x", 40_000), "xxx", "the cell has 40000 bytes", "32767"},
	} {
		t.Run(name, func(t *testing.T) {
			line, text := row(c.start)
			bad := strings.Replace(text, c.old, c.new, 1)
			if bad == text {
				t.Fatal("the case does not change the row")
			}
			m, err := Parse("m.csv", []byte(strings.Replace(good, text, bad, 1)))
			f, ok := fault.Of(err)
			if !ok || m != nil || f.Code != fault.Config || !strings.Contains(f.Message, c.want) || !strings.Contains(f.Hint, c.hint) {
				t.Fatalf("got %v and %v, want %q (%q)", m, err, c.want, c.hint)
			}
			col := strings.Index(bad, c.col) + 1
			if strings.HasPrefix(c.col, ",") {
				col++
			}
			if name == "repeated column" {
				col = strings.Index(bad, "strength,strength") + len("strength,") + 1
			}
			if f.At.File != "m.csv" || f.At.Line != line || f.At.Col != col {
				t.Errorf("at %s, want line %d, column %d: %s", f.At, line, col, f.Message)
			}
		})
	}
}

func TestASheetWithoutAModelIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "the sheet is empty",
		"\n\n":                               "the sheet is empty",
		"record;id;version\nmodel;x;1":       "not separated by commas",
		"id,version\nx,1\n":                  "no column record",
		"record,id\nparty,x\n":               "no row describes the model",
		"record,id\nparty,x,y\n":             "wrong number of fields",
		"record,id,id\nmodel,x,x\n":          "is there twice",
		"record,id\nmodel,\"x\n":             "extraneous or missing \"",
		"record,id\nmodel,x\nfoo,bar\n":      `unknown record "foo"`,
		"record,id,role\nmodel,x,provider\n": "a row of kind model has no role",
	} {
		m, err := Parse("m.csv", []byte(text))
		if m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v and %v, want %q", text, m, err, want)
		}
	}
}

// What begins as a formula is refused in every format, so that no export can hold one.
func TestNoTextOfAModelBeginsAsAFormula(t *testing.T) {
	for name, c := range map[string]struct{ old, new string }{
		"title":       {"title: \"manage own data: backup\"", `title: "=1+1"`},
		"part":        {"provider: operate the platform's own filters", `provider: "@SUM(A1)"`},
		"reason":      {"reason: under PaaS applications are shared", `reason: "-1+1"`},
		"observable":  {"observable: RBAC grants audit", `observable: "+1"`},
		"section":     {"section: Division of responsibility based on service type", `section: "|cmd"`},
		"control":     {"[SI-2, RA-5]", `["＝1", RA-5]`},
		"publisher":   {"publisher: NexGen Cloud", `publisher: " =1"`},
		"conflict":    {"what: network security", `what: "=network security"`},
		"mail":        {"name: The provider of the cloud}", `name: The provider of the cloud, contacts: {security: "=a@example.org"}}`},
		"project":     {"when: {service: paas}", `when: {service: paas, project: "=p"}`},
		"two lines":   {"title: \"manage own data: backup\"", `title: "one\n=two"`},
		"end of line": {"title: \"manage own data: backup\"", `title: "one\r"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(defaultModel), c.old, c.new, 1)
			if text == string(defaultModel) {
				t.Fatal("the case does not change the model")
			}
			m, err := Parse("m.yaml", []byte(text))
			f, ok := fault.Of(err)
			if !ok || m != nil || f.At.Line == 0 {
				t.Fatalf("got %v and %v", m, err)
			}
		})
	}
}
