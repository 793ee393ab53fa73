package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/vm/machine"
)

// runCommand boots, runs command as root and returns its exit code.
func runCommand(s settings, command string) (int, error) {
	w, err := start(s)
	if err != nil {
		return 1, err
	}
	defer w.close(s.keep)
	out, err := w.Root(command, time.Hour)
	io.WriteString(os.Stdout, out)
	if exit := (*machine.ExitError)(nil); errors.As(err, &exit) {
		return exit.Code, nil
	}
	return 0, err
}

// shell boots and hands out a root shell; when it ends, so does the machine.
func shell(s settings) (int, error) {
	w, err := start(s)
	if err != nil {
		return 1, err
	}
	defer w.close(s.keep)
	key, err := w.rootKey()
	if err != nil {
		return 1, err
	}
	if err := w.trust(); err != nil {
		return 1, err
	}
	args, err := w.SSHCommand("root", key)
	if err != nil {
		return 1, err
	}
	console, err := w.gatewayCommand(key)
	if err != nil {
		return 1, err
	}
	fmt.Printf(`
The instance is %s, its people are root, alice and bob. %s trusts the
emulator. This checkout's package is in %s, with the files of -file:

    dpkg -i --force-confold %s && eicctl sshd enable

In another terminal, AWS is

    export AWS_ENDPOINT_URL=%s AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s AWS_DEFAULT_REGION=us-east-1

ssh as somebody else is

    ssh -F none -o UserKnownHostsFile=%s -p %s alice@127.0.0.1

and the serial console, for 60 seconds after aws ec2-instance-connect send-serial-console-ssh-public-key, is

    ssh -F none -o UserKnownHostsFile=%s -p %s %s@127.0.0.1

This is a root shell. The machine ends with it.

`, instanceID, configPath, machine.GuestFiles, machine.GuestFiles+"/"+currentDeb,
		w.aws.APIURL(), emulator.DefaultAccessKey, emulator.DefaultSecretKey,
		w.path("known_hosts"), args[len(args)-4],
		console[10], console[len(console)-2], emulator.SerialUser(instanceID, 0))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
