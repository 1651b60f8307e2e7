package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"demarc/internal/asset"
	"demarc/internal/fault"
	"demarc/internal/serve/demo"
	"demarc/internal/web"
)

// demoCommand tells the whole story on one machine.
func demoCommand() *cobra.Command {
	var once bool
	var output, listen, dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story in a pretend world on this machine",
		Long: `Starts a pretend cloud on loopback, with tenants, servers that answer and a mailbox, and runs the whole line on it:
inventory, probes, findings, mails, deadlines, a quarantine and its release. Policy time leaps from one due moment
to the next, so three weeks pass in less than a minute. Nothing outside this machine is contacted, and no privilege is
needed. The story stays to be looked at until you press Ctrl-C.`,
		Example: `  demarc demo
  demarc demo --once --output json | jq 'select(.mail_to)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return fault.New(fault.Usage, "unknown output %q", output).Hinted("one of text, json")
			}
			return runDemo(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), once, output == "json", listen, dir)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end when the story is over")
	c.Flags().StringVar(&output, "output", "text", "text, or json for one object per event")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8600", "where the page is served (loopback only; empty: no page)")
	c.Flags().StringVar(&dir, "dir", "", "keep database and configuration in this folder, which holds no demarc.db yet (default: a temporary one)")
	return c
}

func runDemo(ctx context.Context, out, errs io.Writer, once, asJSON bool, listen, dir string) (err error) {
	if dir != "" {
		if _, err := os.Lstat(filepath.Join(dir, "demarc.db")); err == nil {
			return fault.New(fault.Usage, "%s holds a demarc.db already, and the demo begins from nothing", dir).Hinted("choose another folder with --dir; to look at what is there, use --db %s", filepath.Join(dir, "demarc.db"))
		}
	}
	t := demo.NewTeller(out, asJSON, time.UTC)
	d, err := demo.New(ctx, demo.Options{Dir: dir, Tell: t.Happened, Say: t.Did})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	t.Named(func(p asset.ProjectID) string { return d.ProjectName(p) })
	if !asJSON {
		fmt.Fprintf(out, "The policy of this demo (its file: %s/policy.yaml)\n\n%s\n", d.Dir, indentText(string(demo.PolicyYAML())))
	}
	if listen != "" {
		stop, err := servePage(listen, d, errs, once)
		if err != nil {
			return err
		}
		defer stop()
	}
	o, err := d.Run(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	t.Summary(o)
	if o.Wrong > 0 {
		return fault.New(fault.Violation, "%d things in the pretend world are not as the stories want", o.Wrong)
	}
	if !once {
		if !asJSON {
			fmt.Fprintf(out, "\nLook at it on http://%s/, or with --db %s/demarc.db. Ctrl-C ends it.\n", listen, d.Dir)
		}
		return d.Idle(ctx)
	}
	return nil
}

// servePage serves the portal's first page beside the story. With --once a port that is taken is no reason to stop.
func servePage(listen string, d *demo.Demo, errs io.Writer, once bool) (stop func(), err error) {
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fault.New(fault.Refused, "the page has no login, so it is not served on %q", listen).Hinted("use an address on 127.0.0.0/8")
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		if once {
			fmt.Fprintf(errs, "demarc: no page: %v\n", err)
			return func() {}, nil
		}
		return nil, fault.New(fault.Unavailable, "cannot serve the page: %w", err).Hinted("choose another address with --listen")
	}
	s := &http.Server{Handler: web.New(web.Config{DB: d.Demarc.DB, Cloud: "demo", Policy: d.Policy(), Now: d.Clock.Now, PolicyYAML: demo.PolicyYAML(), ConfigYAML: d.Config, Live: true, Canonical: "http://127.0.0.1:8600/.well-known/probing.txt", Contact: "demarc@cloud.example", Sources: []string{d.World.Source("scanner").String()}}), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(l) }() // ends with Close
	return func() { _ = s.Close() }, nil
}

func indentText(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}
