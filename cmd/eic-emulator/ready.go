package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// readyTime bounds how long ready waits for an answer.
const readyTime = 4 * time.Second

func readyCommand() *cobra.Command {
	address := "127.0.0.1:4566"
	c := &cobra.Command{
		Use:   "ready",
		Short: "Exit 0 once the emulator at an address serves everything, for health checks",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if set := os.Getenv(environmentPrefix + "API"); set != "" && !c.Flags().Changed("api") {
				address = set
			}
			return ready(c.Context(), address)
		},
	}
	c.Flags().StringVar(&address, "api", address, "`address` of the API; also EIC_EMULATOR_API")
	return c
}

// ready asks an emulator on this host.
func ready(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--api %q is not HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/_emu/ready", nil)
	if err != nil {
		return fmt.Errorf("--api %q is not HOST:PORT", address)
	}
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(request) // no proxy
	if err != nil {
		return failure{fmt.Errorf("not ready: %w", err)}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return failure{fmt.Errorf("not ready: %s", response.Status)}
	}
	return nil
}
