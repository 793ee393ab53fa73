package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/audit"
	"github.com/eic-agent/eic-agent/internal/authkeys"
	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/accept"
	"github.com/eic-agent/eic-agent/internal/ctl/keys"
	"github.com/eic-agent/eic-agent/internal/ctl/nss"
	"github.com/eic-agent/eic-agent/internal/reason"
	"github.com/eic-agent/eic-agent/internal/version"
)

func keysCommand() *cobra.Command {
	var configPath, from string
	cmd := &cobra.Command{
		Use:   "keys USER",
		Short: "Show the keys pushed for a user, with the result of every check",
		Long: `Asks the metadata service for the keys pushed for USER, and shows each record with the
result of every check that eic-authkeys makes, whether sshd accepts the key for the
user, the signing chain with its OCSP staples, and the instance ID. It does not use
the cache and logs nothing. Querying sshd requires root.

Exit status: 0 if at least one key would be granted and sshd does not refuse it; 1 if
there is none; 2 for a usage error; 3 if it cannot be determined.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("expected one user name")
			}
			if args[0] == "" {
				return errors.New("the user name is empty")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := configFile(configPath)
			if err != nil {
				return err
			}
			if err := checkAddress(from); err != nil {
				return err
			}
			user, now := args[0], time.Now()
			cfg, cfgErr := config.Load(path)
			var report keys.Report
			if cfgErr == nil {
				report = inspect(cmd.Context(), cfg, user, now)
			} else {
				report = keys.Failed(user, now, cfgErr)
			}
			if name, err := nss.Name(cmd.Context(), user); err == nil && name != user {
				report.SSHDUser = printable(name)
				user = name
			}
			access, err := accept.Ask(cmd.Context(), user, from)
			if err == nil && cfgErr == nil {
				access.KeyOptions = cfg.Keys.Options
			}
			report.HoldAgainst(cmd.Context(), access, err)
			if err := show(cmd, report); err != nil {
				return err
			}
			return keysOutcome(report)
		},
	}
	cmd.Flags().StringVar(&configPath, "config", config.DefaultPath, "read this `file`")
	cmd.Flags().StringVar(&from, "from", "", fromUsage)
	addOutput(cmd)
	return cmd
}

func inspect(ctx context.Context, cfg *config.Config, user string, now time.Time) keys.Report {
	ctx, cancel := context.WithTimeout(ctx, cfg.IMDS.Timeout.Duration)
	defer cancel()
	return keys.New(authkeys.New(cfg, program+"/"+version.String(), nil).Inspect(ctx, user), now)
}

// keysOutcome is the exit code that a report stands for.
func keysOutcome(r keys.Report) error {
	switch {
	case r.Accepted() > 0:
		return nil
	case r.Granted > 0 || r.Error == nil:
		return outcome{code: exitNo}
	}
	hint := r.Error.Hint
	if r.Error.Reason == reason.IMDSUnreachable {
		hint = "check that the metadata service is enabled for this instance, and that no firewall rule or hop limit blocks this user"
	}
	return outcome{
		code: exitUnknown,
		err:  fmt.Errorf("cannot determine the keys of user %.64q (%s): %s", r.User, r.Error.Reason, r.Error.Detail),
		hint: hint,
	}
}

// fromUsage is that of --from.
const fromUsage = "the client's `address`, for Match blocks and user lists of sshd"

func checkAddress(addr string) error {
	if _, err := netip.ParseAddr(addr); addr != "" && err != nil {
		return fmt.Errorf("--from %s is not an IP address", printable(addr))
	}
	return nil
}

// printable returns text from the command line or a file as it may be shown.
func printable(s string) string { return audit.Clean(s, 300) }
