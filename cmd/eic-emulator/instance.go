package main

import (
	"fmt"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// parseInstance reads ID[,zone=Z][,type=T][,state=S][,imds=ADDR]. The values
// themselves are checked by emulator.New.
func parseInstance(text string) (emulator.Instance, error) {
	id, settings, more := strings.Cut(text, ",")
	instance := emulator.Instance{ID: id}
	if !more {
		return instance, nil
	}
	for setting := range strings.SplitSeq(settings, ",") {
		name, value, _ := strings.Cut(setting, "=")
		if value == "" {
			return emulator.Instance{}, fmt.Errorf("--instance %q: %q is not NAME=VALUE", text, setting)
		}
		switch name {
		case "zone":
			instance.Zone = value
		case "type":
			instance.Type = value
		case "state":
			instance.State = emulator.State(value)
		case "imds":
			instance.IMDSAddress = value
		default:
			return emulator.Instance{}, fmt.Errorf("--instance %q: an instance has no setting %q, only zone, type, state and imds", text, name)
		}
	}
	return instance, nil
}
