package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/steward-bus/steward/internal/config"
)

func (e *env) configCmd() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check a configuration", Example: "  steward config check --config steward.yaml"}
	var f runFlags
	check := &cobra.Command{
		Use: "check", Short: "Check a configuration, and print what run would use", Args: noArgs,
		Long: `check reads the configuration file, the STEWARD_* variables and the flags as run does, each over the one
before, and prints each value that counts and where it came from. It lists all that cannot work, and ends with 2 then;
and what may be a mistake, such as a broker whose name is not known now, with which run would begin.`,
		Example: "  steward config check --config steward.yaml\n  STEWARD_CENTRAL=hq steward config check -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.load(c)
			if err != nil {
				return err
			}
			cfg.Warnings = append(cfg.Warnings, unresolved(c.Context(), cfg)...)
			return e.printConfig(cfg)
		},
	}
	f.register(e, check)
	c.AddCommand(e.outputFlag(check))
	return group(c)
}

// checked is what config check found, for programs.
type checked struct {
	Settings []config.Setting `json:"settings"`
	Problems config.Problems  `json:"problems"`
	Warnings config.Problems  `json:"warnings"`
}

func (e *env) printConfig(cfg config.Effective) error {
	all := checked{cfg.Settings(), append(config.Problems{}, cfg.Problems...), append(config.Problems{}, cfg.Warnings...)}
	err := printOne(e, all, func() [][]string {
		rows := [][]string{{"KEY", "VALUE", "FROM"}}
		for _, s := range all.Settings {
			rows = append(rows, []string{s.Key, settingText(s.Value), s.From})
		}
		return rows
	})
	if err != nil {
		return err
	}
	if e.isTable() {
		for _, w := range all.Warnings {
			fmt.Fprintln(e.stderr, "steward: warning:", w)
		}
	}
	return cfg.Problems.Err()
}

// settingText is a value as the file has it.
func settingText(v any) string {
	switch x := v.(type) {
	case string:
		return dash(x)
	case []string:
		if len(x) > 0 && !slices.ContainsFunc(x, func(s string) bool { return strings.ContainsAny(s, ",[] ") }) {
			return "[" + strings.Join(x, ", ") + "]"
		}
		if b, err := json.Marshal(x); len(x) > 0 && err == nil {
			return string(b)
		}
		return "-"
	}
	return fmt.Sprint(v)
}

// lookupTime bounds the questions to the resolver, which may not answer.
const lookupTime = 3 * time.Second

// unresolved warns of brokers whose name is not known now. It may be later.
func unresolved(ctx context.Context, cfg config.Effective) (warnings config.Problems) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	for i, b := range cfg.Broker {
		host, _, err := config.BrokerHost(b)
		if err != nil {
			continue // a problem by now
		}
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			key := fmt.Sprintf("broker[%d]", i)
			warnings = append(warnings, config.Problem{
				Where: cfg.Whence(key), Key: key, Text: fmt.Sprintf("%s names the host %s, which is not known now (%v): run begins, and looks again until it is", key, host, err),
			})
		}
	}
	return warnings
}
