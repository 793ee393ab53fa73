package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

const serveLong = `Serve takes pushed keys like the EC2 Instance Connect API and serves them,
signed, like the instance metadata service, until it gets SIGINT or SIGTERM.
Nothing is kept when it ends.

The metadata service of an instance is at its imds address. The first instance
without one gets --imds, the others a free port of the same host.`

type serveFlags struct {
	api, imds       string
	instances       []string
	config          string
	permissive      bool
	connectionClose bool
	allowRemote     bool
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the API and the metadata service",
		Long:  serveLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return serve(c.Context(), f, c.OutOrStdout())
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.api, "api", "127.0.0.1:4566", "`address` of the API; port 0 takes a free one")
	flags.StringVar(&f.imds, "imds", "127.0.0.1:1338", "`address` of the metadata service")
	flags.StringArrayVar(&f.instances, "instance", []string{emulator.DefaultInstanceID},
		"an instance, `SPEC` being ID[,zone=Z][,type=T][,state=S][,imds=ADDR]; may be repeated")
	flags.StringVar(&f.config, "write-config", "",
		"write an agent configuration for the first instance to `FILE`, its roots beside it")
	flags.BoolVar(&f.permissive, "permissive", false, "take keys of any type, size and length")
	flags.BoolVar(&f.connectionClose, "connection-close", false, "one metadata request per connection")
	flags.BoolVar(&f.allowRemote, "allow-remote", false, "permit addresses that are not loopback")
	return c
}

func serve(ctx context.Context, f serveFlags, stdout io.Writer) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	server, err := emulator.New(options)
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
	if _, err := stdout.Write(announcement(server, f.config)); err != nil {
		return failure{err}
	}
	if err := server.Serve(ctx); err != nil {
		return failure{err}
	}
	return nil
}

func (f serveFlags) options() (emulator.Options, error) {
	options := emulator.Options{
		Permissive:      f.permissive,
		ConnectionClose: f.connectionClose,
		APIAddress:      f.api,
		AllowRemote:     f.allowRemote,
	}
	if f.api == "" {
		return options, fmt.Errorf("--api needs an address, such as 127.0.0.1:4566")
	}
	host, _, err := net.SplitHostPort(f.imds)
	if err != nil {
		return options, fmt.Errorf("--imds %q is not HOST:PORT", f.imds)
	}
	next := f.imds
	for _, text := range f.instances {
		instance, err := parseInstance(text)
		if err != nil {
			return options, err
		}
		if instance.IMDSAddress == "" {
			instance.IMDSAddress, next = next, net.JoinHostPort(host, "0")
		}
		options.Instances = append(options.Instances, instance)
	}
	return options, nil
}

// announcement is shell text: what is served in comments, then the variables
// that point an AWS SDK or CLI at it.
func announcement(s *emulator.Server, config string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# API at %s\n", s.APIURL())
	instances := s.Instances()
	for _, i := range instances {
		fmt.Fprintf(&b, "# instance %s (%s, %s, %s): metadata at %s\n", i.ID, i.Zone, i.Type, i.State, s.IMDSURL(i.ID))
	}
	if config != "" {
		fmt.Fprintf(&b, "# agent configuration in %s\n", config)
	}
	fmt.Fprintf(&b, "export AWS_ENDPOINT_URL=%s\n", s.APIURL())
	fmt.Fprintf(&b, "export AWS_ACCESS_KEY_ID=%s\n", emulator.DefaultAccessKey)
	fmt.Fprintf(&b, "export AWS_SECRET_ACCESS_KEY=test\n")
	fmt.Fprintf(&b, "export AWS_DEFAULT_REGION=%s\n", instances[0].Region)
	return b.Bytes()
}
