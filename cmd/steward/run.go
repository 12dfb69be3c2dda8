package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/config"
	"github.com/steward-bus/steward/internal/follow"
)

// runFlags are the flags of run, over file and environment.
type runFlags struct {
	file  string
	flags config.Config
}

func (f *runFlags) register(e *env, c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.file, "config", os.Getenv("STEWARD_CONFIG"), "YAML configuration `FILE` (or STEWARD_CONFIG)")
	fl.StringVar(&f.flags.Node, "node", "", "`NAME` of the node (the host's)")
	fl.StringVar(&f.flags.Listen, "listen", "", "`HOST:PORT` of the embedded broker (127.0.0.1:4222 without --broker)")
	fl.StringSliceVar(&f.flags.Broker, "broker", nil, "`URLS` of brokers to join instead, such as nats://127.0.0.1:4222")
	fl.StringVar(&f.flags.Central, "central", "", "`NODE` that collects failures (central)")
	fl.StringVar(&f.flags.InMsg, "inmsg", "", "`FILE` that messages are dropped into (inmsg.txt in the data folder)")
	fl.StringVar(&f.flags.Metrics, "metrics", "", "`HOST:PORT` of /metrics, /healthz and /readyz (none)")
	fl.StringVar(&f.flags.Log.Level, "log-level", "", "`LEVEL`: debug, info, warn or error (info)")
	fl.StringVar(&f.flags.Log.Format, "log-format", "", "`FORMAT`: auto, text or json (auto: text on a terminal)")
	fl.BoolVar(&f.flags.Insecure, "insecure", false, "let anybody reach the broker: allow it off loopback")
	for name, values := range map[string][]string{"log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "text", "json"}} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = c.RegisterFlagCompletionFunc("central", e.completeNodes)
}

// load puts the flags that were given over file and environment.
func (f *runFlags) load(e *env, c *cobra.Command) (config.Config, error) {
	cfg, err := config.Load(f.file, os.Environ(), func(cfg *config.Config) {
		for name, set := range map[string]func(){
			"node": func() { cfg.Node = f.flags.Node }, "listen": func() { cfg.Listen, cfg.Broker = f.flags.Listen, nil },
			"broker": func() { cfg.Broker, cfg.Listen = f.flags.Broker, "" }, "central": func() { cfg.Central = f.flags.Central },
			"inmsg": func() { cfg.InMsg = f.flags.InMsg }, "metrics": func() { cfg.Metrics = f.flags.Metrics },
			"log-level": func() { cfg.Log.Level = f.flags.Log.Level }, "log-format": func() { cfg.Log.Format = f.flags.Log.Format },
			"insecure": func() { cfg.Insecure = f.flags.Insecure }, "data": func() { cfg.Data = e.data },
		} {
			if c.Flags().Changed(name) {
				set()
			}
		}
		if c.Flags().Changed("listen") && c.Flags().Changed("broker") {
			cfg.Listen, cfg.Broker = f.flags.Listen, f.flags.Broker // Validate says that it is one or the other
		}
	})
	if errors.Is(err, config.ErrInvalid) {
		err = usageError{err}
	}
	return cfg, err
}

// gcPercent lets the heap grow further between collections than Go's default
// does: a node's live heap is a few megabytes, and under load a third of its work
// would be to collect it.
const gcPercent = 400

func (e *env) runCmd() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run", Short: "Run a node", Args: noArgs,
		Long: `run starts a node. Without --broker it embeds a NATS server on loopback. SIGTERM ends it:
commands go on without it, and the next start collects their results; all else waits in the journal. A second signal exits
at once.

Flags go over STEWARD_* variables, and those over the configuration file: see steward config check.`,
		Example: "  steward run --node central\n  steward run --node ship1 --broker nats://127.0.0.1:4222 --data ./data/ship1\n  steward run --config /etc/steward.yaml --metrics 127.0.0.1:9222",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load(e, c)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			n, err := steward.New(nodeConfig(cfg, logger(cfg, e.stderr)))
			if err != nil {
				return err
			}
			return n.Run(c.Context())
		},
	}
	f.register(e, c)
	return c
}

func nodeConfig(c config.Config, log *slog.Logger) steward.Config {
	return steward.Config{
		Name: c.Node, Dir: c.Data, Listen: c.Listen, Brokers: c.Broker, Central: c.Central, InMsg: c.InMsg, Prefix: c.Prefix,
		Policy: ack.Policy{Timeout: time.Duration(c.AckTimeout), Retries: c.Retries}, Idle: time.Duration(c.Idle), Grace: time.Duration(c.Grace),
		HistoryAge: time.Duration(c.History.Age), HistoryCount: c.History.Count, InboxLimit: c.InboxLimit, Allow: c.Allow,
		Metrics: c.Metrics, Insecure: c.Insecure, Version: version, Log: log, Forward: forwards(c), Runner: thisProgram(),
	}
}

// thisProgram is the file that runs, also after an upgrade put another in its
// place; empty where there is no such name.
func thisProgram() string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err != nil {
		return ""
	}
	return self
}

// logger writes text to a terminal, JSON else.
func logger(c config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if c.Log.Level != "" {
		if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
			level = slog.LevelInfo // Validate has seen it
		}
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "text" || c.Log.Format != "json" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func forwards(c config.Config) []follow.Source {
	list := make([]follow.Source, len(c.Forward))
	for i, f := range c.Forward {
		list[i] = follow.Source(f)
	}
	return list
}
