package main

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `version prints one line: the version of the program, that of the Go that built it, and the system it is for. --json prints an object
with the keys version, go, os and arch.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  fp8rewrite version
  fp8rewrite version --json
  fp8rewrite version | head -1`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), built{buildVersion(), goruntime.Version(), goruntime.GOOS, goruntime.GOARCH})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "fp8rewrite %s %s %s/%s\n", buildVersion(), goruntime.Version(), goruntime.GOOS, goruntime.GOARCH)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON instead of text")
	return cmd
}

// built is what version --json prints.
type built struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// buildVersion is the release's version, else that of the module, else "devel".
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
