package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/serve"
	"demarc/internal/untrusted"
)

// serveCommand runs the line on a cloud until it is told to stop.
func serveCommand() *cobra.Command {
	var config, logs string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the line on a cloud until it is told to stop",
		Long: `Reads the cloud, probes what its rules open, notifies the responsible party and checks again.
In the mode enforce it takes servers off the network after an operator's approval, and gives them back. A new database begins in the
mode observe, in which only operators get mail: see demarc mode. People decide through the socket that the configuration names: see demarc
enforce and demarc case. There is no page and no API; where the configuration gives an address under health, GET /health on it
tells whether the server works.

SIGTERM or Ctrl-C ends it when what was under way is written down. If the process dies in any other way, the next one goes on
from where it stood. Check the configuration with demarc doctor first.`,
		Example: `  demarc serve --config /etc/demarc/demarc.yaml
  demarc serve --config demarc.yaml --log json`,
		Args: checkArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger(c.ErrOrStderr(), logs)
			if err != nil {
				return err
			}
			return runServer(c.Context(), config, log)
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration `file`")
	c.Flags().StringVar(&logs, "log", "text", "form of the log on standard error: text, json")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	_ = c.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func logger(to io.Writer, form string) (*slog.Logger, error) {
	switch form {
	case "text":
		return slog.New(slog.NewTextHandler(to, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, nil)), nil
	}
	return nil, fault.New(fault.Usage, "--log can not be %q", form).Hinted("accepted: text, json")
}

func runServer(ctx context.Context, config string, log *slog.Logger) (err error) {
	if config == "" {
		return fault.New(fault.Usage, "no configuration is named").Hinted("give its file with --config")
	}
	conf, rules, err := serve.Load(config)
	if err != nil {
		return err
	}
	s, err := serve.Serve(ctx, conf, rules, serve.Options{Log: log, Tell: func(h flow.Happening) { log.Info(h.Event, happening(h)...) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	chosen, _, err := s.DB.Mode(ctx)
	if err != nil {
		return err
	}
	mode := chosen.Lower(conf.Mode)
	log.Info("serving", "version", serve.Version, "cloud", conf.Cloud.Name, "vantages", len(conf.Vantages),
		"mode", string(mode), "mode_allowed", string(conf.Mode.Known()), "mode_means", mode.Describe(),
		"socket", conf.SocketPath(), "health", cmp.Or(conf.Health, "none"),
		"clock_rate", max(conf.Clock.Rate, 1))
	if err := s.Run(ctx); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	log.Info("stopped", "version", serve.Version)
	return nil
}

// happening gives what happened to the log. What strangers wrote passes the log's escaper.
func happening(h flow.Happening) []any {
	out := []any{"policy_time", time.UnixMicro(h.At).UTC().Format(time.RFC3339), "step", h.Step}
	for _, f := range []struct{ name, value string }{{"case", h.Case}, {"finding", h.Finding}, {"check", h.Check}, {"server_id", string(h.ServerID)}, {"project", string(h.Project)},
		{"party", h.Party}, {"state", h.State}, {"mail_to", h.MailTo}, {"cloud_action", h.Act}} {
		if f.value != "" {
			out = append(out, f.name, untrusted.From(f.value))
		}
	}
	if !h.Server.Empty() {
		out = append(out, "server", h.Server)
	}
	if h.Detail != "" {
		out = append(out, "detail", untrusted.From(h.Detail))
	}
	return out
}
