package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/ctl/serial"
	"github.com/eic-agent/eic-agent/internal/systemctl"
)

func serialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serial",
		Short: "Lock the serial console until a key is pushed for it",
		Long: `Enables or disables eic-serial-getty on the serial console (ttyS0), or shows its
status. See eicctl-serial(8) and eic-serial-getty(8).`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("expected a command: status, enable, disable or check")
		},
	}
	cmd.AddCommand(serialStatus(), serialEnable(), serialDisable(), serialCheck())
	return cmd
}

// serialOptions are the flags of the commands.
type serialOptions struct {
	root            string
	now             bool
	whenUnreachable string
}

func (o *serialOptions) add(cmd *cobra.Command, changes bool) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		o.root, err = rootDirectory(o.root)
		return err
	}
	addOutput(cmd)
	cmd.Flags().StringVar(&o.root, "root", "/", rootUsage)
	if changes {
		cmd.Flags().BoolVar(&o.now, "now", false, "restart the getty even if somebody is logged in there")
	}
	return cmd
}

func (o *serialOptions) system() *serial.System {
	s := &serial.System{Root: o.root}
	if o.root == "/" {
		s.Systemctl = systemctl.Run
	}
	return s
}

func serialStatus() *cobra.Command {
	var o serialOptions
	return o.add(&cobra.Command{
		Use:   "status",
		Short: "Show whether the serial console is locked, and any problem",
		Long: `Shows whether the gate is enabled, the getty that it starts, the user to push a key
for, what runs on the port now, and any problem.

Exit status: 0 if the gate is enabled and there is no problem; 1 otherwise; 2 for a
usage error.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := o.system().Status(cmd.Context())
			if err := show(cmd, r); err != nil {
				return err
			}
			if !r.Enabled || len(r.Problems) > 0 {
				return outcome{code: exitNo}
			}
			return nil
		},
	}, false)
}

func serialEnable() *cobra.Command {
	var o serialOptions
	cmd := o.add(&cobra.Command{
		Use:   "enable",
		Short: "Lock the serial console until a key is pushed for it",
		Long: `Writes a drop-in for serial-getty@ttyS0.service that runs the unit's current command
behind the gate, and restarts the getty if nobody is logged in there. "eicctl serial
check" then runs at every boot.

When the network is broken, the metadata service may be unavailable too. Choose what
happens then:

  lock   the console stays locked, except in rescue and emergency mode
  open   after a minute it asks for name and password without a key, and logs that
         at priority crit

The choice is written to a file in ` + config.Dir(config.DefaultPath) + `.

Exit status: 0 if the gate is enabled; 1 if it was not enabled; 2 for a usage error; 3
if a step failed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch o.whenUnreachable {
			case "", config.UnreachableLock, config.UnreachableOpen:
			default:
				return fmt.Errorf("--when-unreachable must be %q or %q, not %.40q", config.UnreachableLock, config.UnreachableOpen, o.whenUnreachable)
			}
			s := o.system()
			r, err := s.Enable(cmd.Context(), o.whenUnreachable, o.now)
			if errors.Is(err, serial.ErrChoice) {
				choice, ok := ask(cmd.InOrStdin(), cmd.ErrOrStderr())
				if !ok {
					return outcome{code: exitUsage, err: err, hint: "add --when-unreachable lock or --when-unreachable open; see --help"}
				}
				r, err = s.Enable(cmd.Context(), choice, o.now)
			}
			return o.finish(cmd, r, err)
		},
	}, true)
	cmd.Flags().StringVar(&o.whenUnreachable, "when-unreachable", "", "lock or open: the `choice` for a console while the metadata service is unavailable")
	return cmd
}

func serialDisable() *cobra.Command {
	var o serialOptions
	return o.add(&cobra.Command{
		Use:   "disable",
		Short: "Restore the serial console's getty",
		Long: `Removes the drop-in and the configuration that enable wrote, and restarts the getty if
nobody is logged in there.

Exit status: 0 if the gate is disabled; 2 for a usage error; 3 if a step failed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := o.system().Disable(cmd.Context(), o.now)
			return o.finish(cmd, r, err)
		},
	}, true)
}

func serialCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report what overrides the gate on the serial console",
		Long: `Waits until systemd has started the getty, then prints one line for everything that
keeps an enabled gate from the console. eic-serial-check.service runs it at boot while
the gate is enabled.

Exit status: 0 if it printed nothing; 1 otherwise; 2 for a usage error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := (&serial.System{Root: "/", Systemctl: systemctl.Run}).Check(cmd.Context())
			if err := show(cmd, found); err != nil {
				return err
			}
			if len(found.Problems) > 0 {
				return outcome{code: exitNo}
			}
			return nil
		},
	}
	addOutput(cmd)
	return cmd
}

// ask asks a person at a terminal for the choice.
func ask(in io.Reader, out io.Writer) (choice string, ok bool) {
	f, isFile := in.(*os.File)
	if !isFile {
		return "", false
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return "", false
	}
	fmt.Fprint(out, `When the network is broken, the metadata service may be unavailable too, and no key
can be verified. What happens to the serial console then?
  lock   it stays locked, except in rescue and emergency mode
  open   after a minute it asks for name and password without a key
lock or open? `)
	line, err := bufio.NewReader(f).ReadString('\n')
	choice = strings.TrimSpace(line)
	return choice, err == nil && (choice == config.UnreachableLock || choice == config.UnreachableOpen)
}

// finish prints what was done, and says what went wrong.
func (o *serialOptions) finish(cmd *cobra.Command, r serial.Report, err error) error {
	var refusal *serial.Refusal
	switch {
	case errors.As(err, &refusal):
		return outcome{code: exitNo, err: err, hint: refusal.Hint}
	case errors.Is(err, os.ErrPermission):
		return outcome{code: exitUnknown, err: err, hint: "run this as root"}
	case err != nil:
		return outcome{code: exitUnknown, err: err}
	}
	return show(cmd, r)
}
