package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/emulator"
)

const serveLong = `Serves EC2 Instance Connect, the key pair and instance operations of EC2 and
Lightsail, and the instance metadata service, until it receives SIGINT or SIGTERM.
If an instance has a serial port, it serves the EC2 Serial Console too. The APIs
share one port, for AWS_ENDPOINT_URL.

The metadata service of an instance is at its imds address. The first instance
without one gets --imds, the others a free port on the same host.

An instance is ID[,SETTING=VALUE]... with these settings:
  zone=us-east-1a         type=t3.micro          state=running|stopped|...
  imds=HOST:PORT          imds6=[HOST]:PORT      account=123456789012
  key=NAME                public-ip=IP           private-ip=IP
  ipv6=IP                 tokens=required|optional
  hop-limit=1..64         latest:PATH=TEXT       latest:PATH=@FILE
  metadata=on|off         metadata-tags=on|off   tag:NAME=VALUE
  user-data=FILE          role=NAME              ami=ami-...
  life-cycle=on-demand|spot                      bios=new|old
  serial=TARGET

A serial port is connected to a TARGET:
  pty, pty:LINK           a pseudo-terminal, with a symbolic link to it
  unix:PATH               a socket, such as of QEMU's -serial unix:PATH,server
  /dev/NAME               a terminal

Every option can also be given in the environment: EIC_EMULATOR_API for --api,
EIC_EMULATOR_LOG_REQUESTS=true for --log-requests, and so on. The values of a
repeatable option are separated by newlines. The command line takes precedence.

Example:
  eic-emulator serve --instance i-0123456789abcdef0,zone=eu-west-1a --ready-file aws.sh`

// maxKeyFile bounds a file with a public key.
const maxKeyFile = 64 << 10

type serveFlags struct {
	api, imds    string
	gateway      string
	knownHosts   string
	serialPause  time.Duration
	instances    []string
	credentials  []string
	denies       []string
	config       string
	state        string
	trail        string
	faults       []string
	scenario     string
	seed         uint64
	rate         float64
	rotate       time.Duration
	keyPairs     []string
	readyFile    string
	logRequests  bool
	serialAccess bool
	permissive   bool
	keepAlive    bool
	allowRemote  bool
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Serve the API and the metadata service",
		Long:    serveLong,
		Args:    cobra.NoArgs,
		PreRunE: func(c *cobra.Command, _ []string) error { return fromEnvironment(c, os.Environ()) },
		RunE: func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.api, "api", "127.0.0.1:4566", "`ADDRESS` of the API; port 0 selects a free port")
	flags.StringVar(&f.imds, "imds", "127.0.0.1:1338", "`ADDRESS` of the metadata service of the first instance")
	flags.StringVar(&f.gateway, "gateway", "127.0.0.1:2200", "`ADDRESS` of the serial console gateway, for instances with serial=")
	flags.StringArrayVar(&f.instances, "instance", []string{emulator.DefaultInstanceID}, "an instance, `SPEC` as above; may be repeated")
	flags.StringArrayVar(&f.credentials, "credential", nil,
		"an access key, `SPEC` is KEYID:SECRET[:TOKEN]=ARN; may be repeated; default test:test="+emulator.DefaultCallerARN)
	flags.StringArrayVar(&f.denies, "deny", nil,
		"an explicit deny, `SPEC` is ACTION[,caller=ARN][,resource=ARN][,osuser=NAME] with * and ?; may be repeated")
	flags.StringArrayVar(&f.keyPairs, "key-pair", nil, "import a public key into EC2 at start, `NAME=FILE`; may be repeated")
	flags.StringVar(&f.readyFile, "ready-file", "", "write the export lines to `FILE` once everything serves; removed at exit")
	flags.StringVar(&f.config, "write-config", "",
		"write an agent configuration for the first instance to `FILE`, its roots beside it")
	flags.StringVar(&f.knownHosts, "write-known-hosts", "", "write the host key of the gateway to `FILE`, for ssh")
	flags.StringVar(&f.state, "state", "", "keep the state in `FILE`, across restarts and crashes")
	flags.StringVar(&f.trail, "cloudtrail", "", "append a CloudTrail record of each call to `FILE`, one per line")
	flags.BoolVar(&f.logRequests, "log-requests", false, "print a line for each request to standard error")
	flags.StringArrayVar(&f.faults, "fault", nil, "inject a fault, `SPEC` is NAME[=VALUE][,...]; may be repeated; eic-emulator faults lists them")
	flags.StringVar(&f.scenario, "scenario", "", "read seed, faults, instances and key-pairs from `FILE`, TOML")
	flags.Uint64Var(&f.seed, "seed", 0, "seed `N` of the fault jitter")
	flags.Float64Var(&f.rate, "rate", 0, "allow `N` calls of an operation per second; 0 allows all")
	flags.DurationVar(&f.rotate, "rotate-every", 0, "rotate the keys of the signers every `DURATION`; 0 never")
	flags.BoolVar(&f.serialAccess, "serial-access", false, "enable the serial console for every account")
	flags.DurationVar(&f.serialPause, "serial-pause", 30*time.Second, "`DURATION` after a serial console session before another can start")
	flags.BoolVar(&f.permissive, "permissive", false, "accept keys of any type, size and length")
	flags.BoolVar(&f.keepAlive, "keep-alive", false, "serve more than one metadata request per connection, unlike EC2")
	flags.BoolVar(&f.allowRemote, "allow-remote", false, "allow addresses that are not loopback")
	return c
}

func serve(ctx context.Context, f serveFlags, stdout, stderr io.Writer) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	if f.trail != "" {
		file, err := os.OpenFile(f.trail, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return failure{err}
		}
		defer file.Close()
		options.CloudTrail = file
	}
	options.GatewayLog = stderr
	if f.logRequests {
		options.RequestLog = stderr
	}
	if f.readyFile != "" {
		if err := atomicfile.Replaceable(f.readyFile); err != nil {
			return failure{fmt.Errorf("cannot use the ready file: %w", err)}
		}
		if err := os.Remove(f.readyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure{fmt.Errorf("cannot use the ready file: %w", err)}
		}
	}
	var server *emulator.Server
	notReady := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.readyFile != "" {
		options.Serving = func() {
			if err := emulator.WriteFile(f.readyFile, announcement(server, f, options), 0o644); err != nil {
				notReady <- fmt.Errorf("cannot write the ready file: %w", err)
				cancel()
			}
		}
		defer os.Remove(f.readyFile)
	}
	server, err = emulator.New(options)
	if errors.Is(err, emulator.ErrStateFile) {
		return failure{err}
	}
	if err != nil {
		return err
	}
	if err := server.Listen(); err != nil {
		return failure{err}
	}
	defer server.Close()
	if f.config != "" {
		if f.config, err = filepath.Abs(f.config); err != nil {
			return failure{err}
		}
		if err := server.WriteConfig(f.config); err != nil {
			return failure{fmt.Errorf("cannot write the agent configuration: %w", err)}
		}
	}
	if f.knownHosts != "" {
		if err := server.WriteKnownHosts(f.knownHosts); err != nil {
			return failure{fmt.Errorf("cannot write the host key of the gateway: %w", err)}
		}
	}
	if _, err := stdout.Write(announcement(server, f, options)); err != nil {
		return failure{err}
	}
	if f.rotate > 0 {
		go rotate(ctx, server, f.rotate, stderr)
	}
	if err := server.Serve(ctx); err != nil {
		return failure{err}
	}
	select {
	case err := <-notReady:
		return failure{err}
	default:
		return nil
	}
}

// rotate rotates the signers until ctx is done.
func rotate(ctx context.Context, server *emulator.Server, every time.Duration, stderr io.Writer) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if err := server.RotateSigners(false); err != nil {
				fmt.Fprintf(stderr, "eic-emulator: error: the signers were not rotated: %v\n", err)
			}
		}
	}
}

func (f serveFlags) options() (emulator.Options, error) {
	options := emulator.Options{
		RSA:             true,
		Permissive:      f.permissive,
		ConnectionClose: !f.keepAlive,
		SerialAccess:    f.serialAccess,
		Rate:            f.rate,
		Faults:          f.faults,
		Seed:            f.seed,
		StateFile:       f.state,
		APIAddress:      f.api,
		AllowRemote:     f.allowRemote,
	}
	switch {
	case f.api == "":
		return options, fmt.Errorf("--api needs an address, such as 127.0.0.1:4566")
	case f.rate < 0 || f.rotate < 0:
		return options, fmt.Errorf("--rate and --rotate-every cannot be negative")
	}
	if f.scenario != "" {
		s, err := readScenario(f.scenario)
		if err != nil {
			return options, err
		}
		options.Faults = append(s.Faults, f.faults...)
		f.keyPairs = append(s.KeyPairs, f.keyPairs...)
		if len(s.Instances) > 0 && f.defaultInstance() {
			f.instances = s.Instances
		} else {
			f.instances = append(s.Instances, f.instances...)
		}
		if f.seed == 0 {
			options.Seed = s.Seed
		}
	}
	for _, text := range f.credentials {
		credential, err := parseCredential(text)
		if err != nil {
			return options, err
		}
		options.AccessKeys = append(options.AccessKeys, credential)
	}
	for _, text := range f.keyPairs {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return options, fmt.Errorf("--key-pair %q is not NAME=FILE", text)
		}
		material, err := readBounded(path, maxKeyFile)
		if err != nil {
			return options, fmt.Errorf("--key-pair %s: %w", name, err)
		}
		options.KeyPairs = append(options.KeyPairs, emulator.KeyPair{Name: name, Material: material})
	}
	for _, text := range f.denies {
		deny, err := parseDeny(text)
		if err != nil {
			return options, err
		}
		options.Deny = append(options.Deny, deny)
	}
	instances, err := f.parseInstances()
	options.Instances = instances
	if err != nil {
		return options, err
	}
	return options, f.serial(&options)
}

// defaultInstance reports whether no instance was named.
func (f serveFlags) defaultInstance() bool {
	return slices.Equal(f.instances, []string{emulator.DefaultInstanceID})
}

// serial sets the options of the gateway.
func (f serveFlags) serial(options *emulator.Options) error {
	if f.serialPause < 0 {
		return fmt.Errorf("--serial-pause cannot be negative")
	}
	if options.SerialPause = f.serialPause; f.serialPause == 0 {
		options.SerialPause = -1 // the zero of the options is AWS's pause
	}
	if slices.ContainsFunc(options.Instances, func(i emulator.Instance) bool { return i.Serial != "" }) {
		options.GatewayAddress = f.gateway
	} else if f.knownHosts != "" {
		return fmt.Errorf("--write-known-hosts requires an instance with serial=")
	}
	return nil
}

// parseInstances gives every instance an address for its metadata service.
func (f serveFlags) parseInstances() ([]emulator.Instance, error) {
	host, _, err := net.SplitHostPort(f.imds)
	if err != nil {
		return nil, fmt.Errorf("--imds %q is not HOST:PORT", f.imds)
	}
	var instances []emulator.Instance
	next := f.imds
	for _, text := range f.instances {
		instance, err := parseInstance(text)
		if err != nil {
			return nil, err
		}
		if instance.IMDSAddress == "" {
			instance.IMDSAddress, next = next, net.JoinHostPort(host, "0")
		}
		instances = append(instances, instance)
	}
	return instances, nil
}

func announceGateway(b *bytes.Buffer, s *emulator.Server, instances []emulator.Instance) {
	address := s.GatewayAddr()
	if address == "" {
		return
	}
	host, port, _ := net.SplitHostPort(address)
	fmt.Fprintf(b, "# serial console gateway at %s, host key %s\n", address, s.GatewayFingerprint())
	for _, i := range instances {
		if port0 := s.SerialPort(i.ID); port0 != "" {
			fmt.Fprintf(b, "# serial port of %s at %s:  ssh -p %s %s@%s\n", i.ID, oneLine(port0), port, emulator.SerialUser(i.ID, 0), host)
		}
	}
}

// quoted is a word for a shell.
func quoted(text string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+=_.:-"
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// oneLine keeps a comment from ending before its time.
func oneLine(text string) string { return strings.NewReplacer("\n", "?", "\r", "?").Replace(text) }

// announcement is shell text: what is served in comments, then the variables
// that point an AWS SDK or CLI at it.
func announcement(s *emulator.Server, f serveFlags, o emulator.Options) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# API at %s: EC2 Instance Connect, EC2, Lightsail, STS; control at %s/_emu/\n", s.APIURL(), s.APIURL())
	instances := s.Instances()
	for _, i := range instances {
		fmt.Fprintf(&b, "# instance %s (%s, %s, %s): metadata at %s", i.ID, i.Zone, i.Type, i.State, s.IMDSURL(i.ID))
		if second := s.IMDSURL6(i.ID); second != "" {
			fmt.Fprintf(&b, " and %s", second)
		}
		fmt.Fprintln(&b)
	}
	announceGateway(&b, s, instances)
	key := emulator.Credential{KeyID: emulator.DefaultAccessKey, Secret: emulator.DefaultSecretKey, ARN: emulator.DefaultCallerARN}
	if len(o.AccessKeys) > 0 {
		key = o.AccessKeys[0]
	}
	fmt.Fprintf(&b, "# access key %s is %s\n", oneLine(key.KeyID), key.ARN)
	for _, fault := range s.Faults() {
		fmt.Fprintf(&b, "# fault %s\n", oneLine(fault))
	}
	if f.state != "" {
		fmt.Fprintf(&b, "# state in %s\n", oneLine(f.state))
	}
	if f.config != "" {
		fmt.Fprintf(&b, "# agent configuration in %s\n", oneLine(f.config))
	}
	fmt.Fprintf(&b, "export AWS_ENDPOINT_URL=%s\n", quoted(s.APIURL()))
	fmt.Fprintf(&b, "export AWS_EC2_METADATA_SERVICE_ENDPOINT=%s\n", quoted(s.IMDSURL(instances[0].ID)))
	fmt.Fprintf(&b, "export AWS_ACCESS_KEY_ID=%s\n", quoted(key.KeyID))
	fmt.Fprintf(&b, "export AWS_SECRET_ACCESS_KEY=%s\n", quoted(key.Secret))
	if key.Token != "" {
		fmt.Fprintf(&b, "export AWS_SESSION_TOKEN=%s\n", quoted(key.Token))
	}
	fmt.Fprintf(&b, "export AWS_DEFAULT_REGION=%s\n", quoted(instances[0].Region))
	return b.Bytes()
}
