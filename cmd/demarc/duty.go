package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"demarc/internal/duty"
	"demarc/internal/fault"
	"demarc/internal/serve"
)

func dutyCommand() *cobra.Command {
	var r reading
	c := &cobra.Command{
		Use: "duty", Short: "Who must do what, and why", Example: "  demarc duty table --service-type iaas\n  demarc duty list --holder customer\n  demarc duty export > mine.yaml",
	}
	r.flags(c)
	c.AddCommand(dutyTableCommand(&r), dutyResolveCommand(&r), dutyListCommand(&r), dutyShowCommand(&r), dutyAssignmentsCommand(&r), dutyConflictsCommand(&r), dutyValidateCommand(&r), dutyExportCommand(&r), dutyDiffCommand(&r), dutyExplainCommand(&r))
	return c
}

// choice adds a flag that takes one of a closed list.
func choice(c *cobra.Command, to *string, name, usage string, of []string) {
	c.Flags().StringVar(to, name, *to, usage)
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp))
}

func words[T ~string](ws []T) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = string(w)
	}
	return out
}

// hinted adds advice to what is not found.
func hinted(err error, hint string) error {
	if f, ok := fault.Of(err); ok && f.Code == fault.NotFound {
		return f.Hinted("%s", hint)
	}
	return err
}

// chosen is the model a command speaks of.
type chosen struct {
	r    *reading
	path string
}

// model adds --model to a command.
func (r *reading) model(c *cobra.Command) *chosen {
	m := &chosen{r: r}
	c.Flags().StringVar(&m.path, "model", "", "a model of one's own: a YAML, JSON or CSV `file` (default: the configuration's, or the one that comes with the program)")
	_ = c.MarkFlagFilename("model", "yaml", "yml", "json", "csv")
	return m
}

// load reads the model that was chosen: the file, else the configuration's, else the embedded one.
func (m *chosen) load() (*duty.Model, error) {
	if m.path != "" {
		return loadModel(m.path)
	}
	if m.r.config == "" {
		return duty.Default()
	}
	conf, _, err := serve.Load(m.r.config)
	if err != nil {
		return nil, err
	}
	return conf.Model(), nil
}

// loadModel reads a model by its file, or by the word default.
func loadModel(path string) (*duty.Model, error) {
	if path == "default" {
		return duty.Default()
	}
	return serve.ReadModel(path)
}

// oneOf refuses a flag's value that is not of a list.
func oneOf(flag, value string, of []string) error {
	if value == "" {
		return fault.New(fault.Usage, "%s is missing", flag).Hinted("one of %s", strings.Join(of, ", "))
	}
	if !slices.Contains(of, value) {
		return fault.New(fault.Usage, "%s can not be %q", flag, value).Hinted("one of %s", strings.Join(of, ", "))
	}
	return nil
}

// kindFlags are the flags that say what a resource is.
type kindFlags struct {
	service, architecture, contract string
}

func (k *kindFlags) flags(c *cobra.Command, service string) {
	m, err := duty.Default()
	if err != nil { // completion offers nothing then, and the command says why
		m = &duty.Model{}
	}
	choice(c, &k.service, service, "type of service, such as iaas (default: the model's first)", m.ServiceTypes)
	choice(c, &k.architecture, "architecture", "such as vm (default: the model's first)", m.Architectures)
	choice(c, &k.contract, "contract", "type of contract, such as standard (default: the model's first)", m.ContractTypes)
}

// kind is the kind of resource that was asked for. What the model's table of types does not have is refused.
func (k *kindFlags) kind(m *duty.Model, service string) (duty.Resource, error) {
	out := m.Plain()
	for _, f := range []struct {
		flag, value string
		of          []string
		to          *string
	}{{"--" + service, k.service, m.ServiceTypes, &out.Service}, {"--architecture", k.architecture, m.Architectures, &out.Architecture},
		{"--contract", k.contract, m.ContractTypes, &out.Contract}} {
		if f.value == "" {
			continue
		}
		if err := oneOf(f.flag, f.value, f.of); err != nil {
			return out, err
		}
		*f.to = f.value
	}
	return out, nil
}

func dutyResolveCommand(r *reading) *cobra.Command {
	var layer, aspect string
	var k kindFlags
	var where duty.Resource
	var m *chosen
	c := &cobra.Command{
		Use: "resolve", Short: "Who holds an aspect of a layer",
		Long: `Who holds an aspect of a layer, and why.

The flags say what the resource is. The contracts and offerings of the model or the configuration are not looked at, even if they
name its project; demarc duty explain tells of a finding with them.`,
		Example: `  demarc duty resolve --layer guest-os --aspect maintain
  demarc duty resolve --layer guest-os --aspect maintain --contract extended --output json
  demarc duty resolve --layer application --aspect secure --model mine.yaml --project p-astro --tag teaching`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			model, err := m.load()
			if err != nil {
				return err
			}
			return resolveDuty(c, r, model, layer, aspect, &k, where)
		},
	}
	choice(c, &layer, "layer", "part of the stack, such as guest-os", words(duty.Layers))
	choice(c, &aspect, "aspect", "side of the layer, such as maintain", words(duty.Aspects))
	k.flags(c, "service")
	c.Flags().StringVar(&where.Cloud, "cloud", "", "the resource's cloud")
	c.Flags().StringVar(&where.Region, "region", "", "its region")
	c.Flags().StringVar((*string)(&where.Domain), "domain", "", "its project's domain, by id")
	c.Flags().StringVar((*string)(&where.Project), "project", "", "its project, by id")
	c.Flags().StringSliceVar(&where.Tags, "tag", nil, "a tag of its project; may be repeated")
	m = r.model(c)
	return c
}

func resolveDuty(c *cobra.Command, r *reading, m *duty.Model, layer, aspect string, k *kindFlags, where duty.Resource) error {
	if err := oneOf("--layer", layer, words(duty.Layers)); err != nil {
		return err
	}
	if err := oneOf("--aspect", aspect, words(duty.Aspects)); err != nil {
		return err
	}
	kind, err := k.kind(m, "service")
	if err != nil {
		return err
	}
	where.Service, where.Architecture, where.Contract = kind.Service, kind.Architecture, kind.Contract
	return explainDuty(c, r, m.Resolve(duty.Layer(layer), duty.Aspect(aspect), where))
}

func explainDuty(c *cobra.Command, r *reading, d duty.Resolution) error {
	switch r.output {
	case "json":
		return writeIndented(c.OutOrStdout(), d)
	case "csv":
		return list(c, r, "", []duty.Resolution{d},
			col("layer", func(d duty.Resolution) string { return string(d.Layer) }),
			col("aspect", func(d duty.Resolution) string { return string(d.Aspect) }),
			col("service", func(d duty.Resolution) string { return d.Resource.Service }),
			col("architecture", func(d duty.Resolution) string { return d.Resource.Architecture }),
			col("contract", func(d duty.Resolution) string { return d.Resource.Contract }),
			col("ownership", func(d duty.Resolution) string { return string(d.Ownership) }),
			col("party", func(d duty.Resolution) string { return string(d.Party) }),
			col("assignment", func(d duty.Resolution) string { return d.Assignment }),
			col("duty", func(d duty.Resolution) string { return d.Duty }),
			col("reason", func(d duty.Resolution) string { return d.Reason }))
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), d.Explain())
	return err
}
