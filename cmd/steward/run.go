package main

import (
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/steward-bus/steward"
	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/config"
	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/internal/method"
)

// runFlags are the flags of run, over file and environment.
type runFlags struct{ file string }

// register gives c the flags. The name of one that is a setting is that of its
// key, with a dash where that has a dot.
func (f *runFlags) register(e *env, c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.file, "config", os.Getenv("STEWARD_CONFIG"), "YAML configuration `FILE` (or STEWARD_CONFIG)")
	fl.String("node", "", "`NAME` of the node (the host's)")
	fl.String("listen", "", "`HOST:PORT` of the embedded broker (127.0.0.1:4222 without --broker)")
	fl.StringSlice("broker", nil, "`URLS` of brokers to join instead, such as nats://127.0.0.1:4222")
	fl.String("central", "", "`NODE` that collects failures (central)")
	fl.String("inmsg", "", "`FILE` that messages are dropped into (inmsg.txt in the data folder)")
	fl.String("metrics", "", "`HOST:PORT` of /metrics, /healthz and /readyz (none)")
	fl.String("log-level", "", "`LEVEL`: debug, info, warn or error (info)")
	fl.String("log-format", "", "`FORMAT`: auto, text or json (auto: text on a terminal)")
	fl.Bool("insecure", false, "let anybody reach the broker: allow it off loopback")
	for name, values := range map[string][]string{"log-level": {"debug", "info", "warn", "error"}, "log-format": {"auto", "text", "json"}} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = c.RegisterFlagCompletionFunc("central", e.completeNodes)
}

// load puts the flags that were given over file and environment.
func (f *runFlags) load(c *cobra.Command) (config.Effective, error) {
	src := config.Sources{File: f.file, Environ: os.Environ(), Methods: methodNames()}
	c.Flags().Visit(func(fl *pflag.Flag) {
		text := fl.Value.String()
		if list, ok := fl.Value.(pflag.SliceValue); ok {
			text = strings.Join(list.GetSlice(), ",")
		}
		if key := strings.ReplaceAll(fl.Name, "-", "."); config.Has(key) {
			src.Flags = append(src.Flags, config.Flag{Name: fl.Name, Key: key, Text: text})
		}
	})
	return config.Load(src)
}

// methodNames are those that a node of this program has.
func methodNames() (names []string) {
	for _, m := range method.Table(&method.Host{}) {
		names = append(names, m.Name)
	}
	return names
}

// gcPercent lets the heap grow further between collections than Go's default
// does: a node's live heap is a few megabytes, and under load a third of its work
// would be to collect it.
const gcPercent = 400

func (e *env) runCmd() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run", Short: "Run a node", Args: noArgs,
		Long: `run starts a node. Without --broker it embeds a NATS server on loopback. SIGTERM, SIGINT or SIGHUP ends it:
commands go on without it, and the next start collects their results; all else waits in the journal. A second SIGTERM or
SIGINT exits at once. Under nohup it goes on when the terminal closes.

Flags go over STEWARD_* variables, and those over the configuration file: see steward config check.`,
		Example: "  steward run --node central\n  steward run --node ship1 --broker nats://127.0.0.1:4222 --data ./data/ship1\n  steward run --config /etc/steward.yaml --metrics 127.0.0.1:9222",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load(c)
			if err != nil {
				return err
			}
			if err := cfg.Problems.Err(); err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			log := logger(cfg.Config, e.stderr)
			for _, w := range cfg.Warnings {
				log.Warn("configuration", "warning", w.String())
			}
			n, err := steward.New(nodeConfig(cfg.Config, log))
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
		CLI: method.CLIConfig{PassEnv: c.PassEnv}, Metrics: c.Metrics, Insecure: c.Insecure, Version: version, Log: log, Forward: forwards(c), Runner: thisProgram(),
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
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // it was checked
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
