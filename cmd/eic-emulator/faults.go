package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

const faultsLong = `Faults lists what --fault, a scenario file and the control endpoint can order.
An order is NAME[=VALUE] and any of these restrictions, each after a comma:

  service=api|imds      instance=ID        path=PREFIX       operation=NAME
  certificate=leaf|intermediate|root       share=0..1        after=N
  times=N               from=DURATION      until=DURATION

Which requests are struck depends on their order alone: share=0.5 is every
second one. from and until count from the order.`

func faultsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "faults",
		Short: "List the faults",
		Long:  faultsLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return listFaults(c.OutOrStdout())
		},
	}
}

func listFaults(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	layer := ""
	for _, k := range emulator.FaultKinds() {
		if k.Layer != layer && layer != "" {
			fmt.Fprintln(table)
		}
		layer = k.Layer
		order := k.Name
		if k.Value != "" {
			order += "=" + k.Value
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", order, k.Layer, k.Doc)
	}
	if err := table.Flush(); err != nil {
		return failure{err}
	}
	return nil
}

// maxScenario bounds a scenario file.
const maxScenario = 1 << 20

// A scenario is a file with what a test needs at the start, as the options have
// it.
type scenario struct {
	Seed      uint64   `toml:"seed"`
	Faults    []string `toml:"faults"`
	Instances []string `toml:"instances"`
	KeyPairs  []string `toml:"key-pairs"`
}

// readBounded reads a file that is not longer than most.
func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}

func readScenario(path string) (scenario, error) {
	data, err := readBounded(path, maxScenario)
	if err != nil {
		return scenario{}, fmt.Errorf("cannot use the scenario: %w", err)
	}
	var s scenario
	err = toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&s)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, _ := strict.Errors[0].Position()
		err = fmt.Errorf("line %d: unknown key %q; the keys are seed, faults, instances and key-pairs", row, strict.Errors[0].Key())
	}
	if err != nil {
		return scenario{}, fmt.Errorf("cannot use the scenario %s: %w", path, err)
	}
	return s, nil
}
