package main

import (
	"runtime"

	"github.com/spf13/cobra"
)

func (e *env) versionCmd() *cobra.Command {
	return e.outputFlag(&cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs, Example: "  steward version",
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return printOne(e, v, func() [][]string { return [][]string{{"steward " + version, v["go"], v["platform"]}} })
		},
	})
}
