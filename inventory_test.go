package demarc_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"demarc/internal/asset"
	"demarc/internal/asset/lines"
	"demarc/internal/policy"
)

// docs/inventory.md tells every kind of line in the order of a file, and its example is one that is read.
func TestDocsInventory(t *testing.T) {
	page := pages(t)["docs/inventory.md"]
	same(t, "docs/inventory.md, kinds", tableWords(t, page, "## The format"), lines.Kinds())
	if at := strings.Join(tableWords(t, page, "## The format"), " "); at != strings.Join(lines.Kinds(), " ") {
		t.Errorf("docs/inventory.md: the kinds are in another order: %s", at)
	}
	_, rest, _ := strings.Cut(string(page), "```\n{\"format\"")
	example, _, _ := strings.Cut(rest, "```")
	s, people, err := lines.Read("docs/inventory.md", strings.NewReader("{\"format\""+example))
	if err != nil || people || len(s.Servers) != 1 || len(s.Groups[0].Rules) != 1 {
		t.Errorf("docs/inventory.md: the example is not read: %v", err)
	}
}

// docs/inventory.md lists the fields of each kind, by the names that they have in a line and in their order.
func TestDocsInventoryFields(t *testing.T) {
	page := pages(t)["docs/inventory.md"]
	for _, flaw := range fieldFlaws(page) {
		t.Errorf("docs/inventory.md: %s", flaw)
	}
	for old, brand := range map[string]string{
		"`port_min`, `port_max`, `remote_prefix`": "`port_min`, `remote_prefix`", "`vnic_type`": "`nic_type`", "| `trunk` | `id`": "| `trunks` | `id`",
		"`fixed_ips` (`subnet`, `addr`)": "`fixed_ips`", "`revision` | `stateless`": "`revision`, `rules` | `stateless`", "`cidr`, `gateway`": "`gateway`, `cidr`",
		"\n| `rbac` | `id`": "\n\n`rbac` `id`", "\n## People": "\n| `flavour` | `id` |\n\n## People",
	} {
		if bad := bytes.Replace(page, []byte(old), []byte(brand), 1); bytes.Equal(bad, page) || len(fieldFlaws(bad)) == 0 {
			t.Errorf("%q in place of %q is not seen", brand, old)
		}
	}
}

// fieldFlaws says what is wrong with the table of fields.
func fieldFlaws(page []byte) []string {
	_, rest, _ := bytes.Cut(page, []byte("\n## The fields\n"))
	table, _, _ := bytes.Cut(rest, []byte("\n#"))
	var out []string
	of := map[string]reflect.Type{"rule": reflect.TypeFor[asset.Rule]()}
	for f := range fieldsOf(reflect.TypeFor[asset.Snapshot]()) {
		of[strings.TrimSuffix(f.name, "s")] = f.of
	}
	at := 0
	for _, kind := range lines.Kinds() {
		if of[kind] == nil {
			out = append(out, "no list of the snapshot is of kind "+kind)
			continue
		}
		row := fmt.Sprintf("\n| `%s` | %s |", kind, fieldWords(of[kind]))
		i := bytes.Index(table, []byte(row))
		if i < at {
			out = append(out, "there is no row, or not in the order of a file:"+row)
		}
		at = max(at, i)
	}
	if rows, kinds := bytes.Count(table, []byte("\n| `")), len(lines.Kinds()); rows != kinds {
		out = append(out, fmt.Sprintf("%d rows of fields, and %d kinds", rows, kinds))
	}
	return out
}

// field is one field of a line: its name there, and what it holds, or what it holds several of.
type field struct {
	name string
	of   reflect.Type
}

// fieldsOf goes through the fields of an object as they are written. The rules of a group have lines of their own.
func fieldsOf(t reflect.Type) func(func(field) bool) {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			of := f.Type
			if of.Kind() == reflect.Slice {
				of = of.Elem()
			}
			if name == "" || name == "-" || t == reflect.TypeFor[asset.Group]() && name == "rules" {
				continue
			}
			if !yield(field{name, of}) {
				return
			}
		}
	}
}

func fieldWords(t reflect.Type) string {
	var out []string
	for f := range fieldsOf(t) {
		word := "`" + f.name + "`"
		if f.of.Kind() == reflect.Struct && f.of.PkgPath() == t.PkgPath() {
			word += " (" + fieldWords(f.of) + ")"
		}
		out = append(out, word)
	}
	return strings.Join(out, ", ")
}

// docs/profiles.md tells every profile of the default policy, and its example is one that loads.
func TestDocsProfiles(t *testing.T) {
	page := pages(t)["docs/profiles.md"]
	p, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "docs/profiles.md", tableWords(t, page, "## The profiles"), p.ProfileNames())
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	base, _, _ := strings.Cut(string(policy.DefaultYAML()), "\nprofiles:")
	if own, err := policy.Parse("own.yaml", []byte(base+"\n"+example)); err != nil || len(own.ProfileOf) != 2 || own.Profiles["mail"].Title == "" {
		t.Errorf("docs/profiles.md: the example does not load: %v", err)
	}
}
