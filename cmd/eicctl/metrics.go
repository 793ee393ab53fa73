package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/metrics"
	"github.com/eic-agent/eic-agent/internal/ctl/output"
)

// defaultState is where eicctl metrics keeps its counters.
const defaultState = "/var/lib/eic-agent/metrics.json"

// metricsOptions are the flags of eicctl metrics.
type metricsOptions struct {
	metrics.Options
	textfile, agentUser string
}

func metricsCommand() *cobra.Command {
	var o metricsOptions
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "What the agent did on this host, for Prometheus",
		Long: `Prints, in Prometheus's text format, how many keys were provided and refused, how many
runs failed, how many serial consoles were opened and how many sessions are open; the
problems that eicctl doctor finds; and the agent's version with a digest of its
settings. See eicctl-metrics(8).

With --textfile it writes them to a file for the textfile collector of
prometheus-node-exporter, and keeps the counters, which continue if entries have
since been removed from the journal.

Exit status: 0 if all was collected; 2 for a usage error; 3 if not: nothing
is printed, and the file is not changed.`,
		Example: `  eicctl metrics
  eicctl metrics --textfile /var/lib/prometheus/node-exporter/eic-agent.prom`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.textfile, "textfile", "", "write the metrics atomically to this `file`, and keep the counters")
	flags.StringVar(&o.StatePath, "state", defaultState, "`file` for the counters")
	flags.StringVar(&o.ConfigPath, "config", config.DefaultPath, "configuration `file` of the agent")
	flags.StringVar(&o.agentUser, "agent-user", "", "the `account` or uid that sshd runs eic-authkeys as (default: "+defaultAgentUser+")")
	flags.BoolVar(&o.NoDoctor, "no-doctor", false, "omit the findings of eicctl doctor")
	_ = cmd.RegisterFlagCompletionFunc("agent-user", cobra.NoFileCompletions)
	addOutput(cmd)
	return cmd
}

func (o *metricsOptions) run(cmd *cobra.Command) (err error) {
	if o.textfile != "" && outputFormat(cmd) != output.Table {
		return errors.New("--textfile and --output contradict each other: the file is in Prometheus's format")
	}
	journal := journalOptions{agentUser: o.agentUser}
	source, err := journal.source()
	if err != nil {
		return err
	}
	o.Trust = source.Trust
	if o.ConfigPath, err = configFile(o.ConfigPath); err != nil {
		return err
	}
	snapshot, err := metrics.Collect(cmd.Context(), o.Options)
	switch {
	case errors.Is(err, context.Canceled):
		return outcome{code: exitUnknown, err: errors.New("interrupted")}
	case err != nil:
		return journalOutcome(err)
	case o.textfile == "":
		return show(cmd, snapshot)
	}
	// The state comes second: what is counted again after a failure comes to the same.
	readable := func(f *os.File) error { return f.Chmod(0o644) }
	if err = atomicfile.Write(o.textfile, ".eicctl-*", []byte(snapshot.Text()), readable); err == nil {
		err = snapshot.Save(o.StatePath)
	}
	if err != nil {
		return outcome{code: exitUnknown, err: err}
	}
	return nil
}
