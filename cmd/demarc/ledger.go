package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"demarc/internal/access"
	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/serve"
	"demarc/internal/store"
	"demarc/internal/untrusted"
)

// The forms a listing can take.
var formats = []string{"table", "json", "csv"}

// reading is what the commands that read the database share: where it is, and how they show what is in it.
type reading struct {
	db     string
	config string
	output format
	utc    bool
	zone   string
}

// format is the value of --output.
type format string

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

// Set takes one of the forms.
func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("accepted: %s", strings.Join(formats, ", "))
	}
	*f = format(s)
	return nil
}

// showing adds the flags that say how to show.
func (r *reading) showing(c *cobra.Command) {
	r.output = "table"
	c.PersistentFlags().VarP(&r.output, "output", "o", strings.Join(formats, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	c.PersistentFlags().BoolVar(&r.utc, "utc", false, "show times in UTC")
	c.PersistentFlags().StringVar(&r.zone, "time-zone", "", "show times in this zone, such as Europe/London (default: this machine's)")
}

// flags adds the flags of a command that reads the database.
func (r *reading) flags(c *cobra.Command) {
	r.showing(c)
	c.PersistentFlags().StringVar(&r.db, "db", "", "database `file`, or postgres://user@host/database (or DEMARC_DB)")
	c.PersistentFlags().StringVar(&r.config, "config", "", "configuration `file`; names the database too")
	_ = c.MarkPersistentFlagFilename("config", "yaml", "yml")
	_ = c.MarkPersistentFlagFilename("db")
}

// noDatabase refuses --db where the answer comes from a file. A configuration is no contradiction: it says where our probes come from.
func (r *reading) noDatabase() error {
	if r.db == "" {
		return nil
	}
	return fault.New(fault.Usage, "the answer comes from a file of an inventory: --db has no part in it").Hinted("give one of both; demarc inventory export writes what the database holds to a file")
}

// path is the database's file or URL. The configuration is read when there is one.
func (r *reading) path() (string, *serve.Config, error) {
	var conf *serve.Config
	if r.config != "" {
		var err error
		if conf, _, err = serve.Load(r.config); err != nil {
			return "", nil, err
		}
	}
	if r.db == "" {
		r.db = os.Getenv("DEMARC_DB") // not as the flag's default, which help would show
	}
	switch {
	case r.db != "":
		return r.db, conf, nil
	case conf != nil:
		return conf.DatabasePath(), conf, nil
	}
	return "", nil, fault.New(fault.Usage, "no database is named").Hinted("give its file with --db, or in DEMARC_DB")
}

// with opens the database for reading and hands it over.
func (r *reading) with(ctx context.Context, do func(*store.DB) error) error {
	if _, err := r.location(); err != nil {
		return err
	}
	path, conf, err := r.path()
	if err != nil {
		return err
	}
	db, err := store.OpenReader(ctx, path, opening(path, conf)...)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// opening is how a database is opened: with the configuration's password, where it is the one that the configuration names.
func opening(path string, conf *serve.Config) []store.Option {
	var out []store.Option
	if conf != nil && path == conf.DatabasePath() {
		out = append(out, conf.Password())
	}
	if heads := headsOf(path, conf); heads != "" {
		out = append(out, store.WithHeads(store.HeadFile(heads)))
	}
	return out
}

// headsOf is the file of the audit log's heads: the configuration's for the database that it names, else beside the file. A server
// that is named by its URL alone has none.
func headsOf(path string, conf *serve.Config) string {
	switch {
	case conf != nil && path == conf.DatabasePath():
		return conf.HeadsPath()
	case store.IsURL(path):
		return ""
	}
	return path + ".heads"
}

// switchOf is the file of the kill switch: the configuration's for the database that it names, else beside the file. A server that is named
// by its URL alone has none.
func switchOf(path string, conf *serve.Config) store.SwitchFile {
	switch {
	case conf != nil && path == conf.DatabasePath():
		return conf.SwitchPath()
	case store.IsURL(path):
		return ""
	}
	return store.SwitchFile(path + ".switch")
}

// asProject adds the flag that shows what the tenants of a project may see: their own, and of what the provider holds how it stands.
func asProject(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "as-project", "", "only what the tenants of a project may see, by its id")
}

// scopeOf is what a reading may return: everything, or what belongs to one project.
func scopeOf(project string) access.Scope {
	if project == "" {
		return access.Operator()
	}
	return access.Tenant(asset.ProjectID(project))
}

// location is the zone that times are shown in.
func (r *reading) location() (*time.Location, error) {
	if r.utc || r.zone == "" {
		if r.utc {
			return time.UTC, nil
		}
		return time.Local, nil
	}
	l, err := time.LoadLocation(r.zone)
	if err != nil {
		return nil, fault.New(fault.Usage, "unknown time zone %q", r.zone).Hinted("an IANA name such as Europe/London")
	}
	return l, nil
}

// when shows a time in a table.
func (r *reading) when(m moment) string {
	if m == 0 {
		return ""
	}
	l, err := r.location()
	if err != nil {
		l = time.UTC
	}
	return time.UnixMicro(int64(m)).In(l).Format("2006-01-02 15:04:05 MST")
}

// moment is a time in µs; in JSON it is RFC 3339 in UTC.
type moment int64

// IsZero tells whether there is no time.
func (m moment) IsZero() bool { return m == 0 }

// MarshalJSON writes RFC 3339.
func (m moment) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.UnixMicro(int64(m)).UTC().Format(time.RFC3339Nano))
}

// column is one column of a listing. What it shows passes the escaper of the sink.
type column[T any] struct {
	name string
	cell func(T) untrusted.Text
}

// col is a column of text that the program made; it is escaped all the same.
func col[T any](name string, cell func(T) string) column[T] {
	return column[T]{name, func(v T) untrusted.Text { return untrusted.From(cell(v)) }}
}

// list shows rows in the form that was asked for. Without rows a table is the sentence that says so.
func list[T any](c *cobra.Command, r *reading, empty string, rows []T, cols ...column[T]) error {
	out := c.OutOrStdout()
	switch r.output {
	case "json":
		if rows == nil {
			rows = []T{}
		}
		return writeIndented(out, rows)
	case "csv":
		w := csv.NewWriter(out)
		_ = w.Write(names(cols))
		for _, v := range rows {
			cells := make([]string, len(cols))
			for i, k := range cols {
				cells[i] = k.cell(v).CSV()
			}
			_ = w.Write(cells)
		}
		w.Flush()
		return w.Error()
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(out, empty)
		return err
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ToUpper(strings.ReplaceAll(strings.Join(names(cols), "\t"), "_", " ")))
	for _, v := range rows {
		cells := make([]string, len(cols))
		for i, k := range cols {
			cells[i] = k.cell(v).Terminal()
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	for line := range strings.Lines(b.String()) { // an empty last cell leaves no blanks behind
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func names[T any](cols []column[T]) []string {
	out := make([]string, len(cols))
	for i, k := range cols {
		out[i] = k.name
	}
	return out
}

// sheet shows one thing as names with values, one line each; a value that is empty is left out.
type sheet struct {
	w *tabwriter.Writer
}

func newSheet(c *cobra.Command) sheet {
	return sheet{tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)}
}

func (s sheet) row(name, value string) { s.text(name, untrusted.From(value)) }

func (s sheet) text(name string, value untrusted.Text) {
	if !value.Empty() {
		_, _ = fmt.Fprintf(s.w, "%s\t%s\n", name, value.Terminal())
	}
}

// gap leaves a line empty.
func (s sheet) gap() { _, _ = fmt.Fprintln(s.w) }

func (s sheet) end() error { return s.w.Flush() }

// several counts things by their name.
func several(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// naming finds the names of servers and projects, as they were last called.
type naming struct {
	ctx   context.Context //nolint:containedctx // lives for one command
	db    *store.DB
	cache map[string]untrusted.Text
	told  map[string]map[string]string // by kind and id, instead of the database
}

func newNaming(ctx context.Context, db *store.DB) *naming {
	return &naming{ctx: ctx, db: db, cache: map[string]untrusted.Text{}}
}

func (n *naming) server(cloud string, id asset.ServerID) (untrusted.Text, error) {
	return n.name(cloud, "server", string(id))
}

func (n *naming) project(cloud string, id asset.ProjectID) (untrusted.Text, error) {
	return n.name(cloud, "project", string(id))
}

func (n *naming) name(cloud, kind, id string) (untrusted.Text, error) {
	if n.told != nil {
		return untrusted.From(n.told[kind][id]), nil
	}
	key := cloud + " " + kind + " " + id
	if t, ok := n.cache[key]; ok || id == "" {
		return t, nil
	}
	t, err := n.db.NameOf(n.ctx, access.Operator(), cloud, kind, id)
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	n.cache[key] = t
	return t, err
}

// namingOf knows the names that came with an answer.
func namingOf(t serve.Told) *naming {
	return &naming{told: t.Names}
}

// named shows a name with the id it stands for.
func named[ID ~string](name untrusted.Text, id ID) untrusted.Text {
	if name.Empty() {
		return untrusted.From(string(id))
	}
	return untrusted.From(name.Raw() + " (" + cmp.Or(string(id), "?") + ")")
}
