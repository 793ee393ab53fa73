package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const environmentPrefix = "EIC_EMULATOR_"

// fromEnvironment sets the flags that the command line does not, from variables
// such as EIC_EMULATOR_API. A variable without a flag is an error, except those that
// Kubernetes sets for a service of this name.
func fromEnvironment(c *cobra.Command, environment []string) error {
	flags := c.Flags()
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		option, ok := strings.CutPrefix(name, environmentPrefix)
		if !ok || option == "PORT" || strings.HasPrefix(option, "PORT_") || strings.HasPrefix(option, "SERVICE_") {
			continue
		}
		flag := flags.Lookup(strings.ReplaceAll(strings.ToLower(option), "_", "-"))
		if flag == nil || flag.Name == "help" || option != strings.ToUpper(option) {
			return fmt.Errorf("unknown environment variable %s", name)
		}
		if flag.Changed {
			continue
		}
		values := []string{value}
		if flag.Value.Type() == "stringArray" {
			values = strings.FieldsFunc(value, func(r rune) bool { return r == '\n' })
		}
		for _, one := range values {
			if err := flags.Set(flag.Name, strings.TrimSpace(one)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}
