package ec2

import (
	"encoding/xml"
	"slices"
	"strconv"

	"github.com/eic-agent/eic-agent/internal/emulator/api"
	"github.com/eic-agent/eic-agent/internal/emulator/world"
)

// A change of state is over when it is answered: the answer names the state on
// the way, and the next call sees the state at its end.
type stateChange struct {
	verb     string
	from     []world.State // in which it does something
	already  []world.State // in which there is nothing to do
	way, end world.State
}

var (
	start = stateChange{
		verb: "started", from: []world.State{world.Stopped}, already: []world.State{world.Running, world.Pending},
		way: world.Pending, end: world.Running,
	}
	stop = stateChange{
		verb: "stopped", from: []world.State{world.Running, world.Pending}, already: []world.State{world.Stopped, world.Stopping},
		way: world.Stopping, end: world.Stopped,
	}
	terminate = stateChange{
		verb: "terminated", from: []world.State{world.Pending, world.Running, world.Stopping, world.Stopped},
		already: []world.State{world.ShuttingDown, world.Terminated}, way: world.ShuttingDown, end: world.Terminated,
	}
)

type transitionOutput struct {
	XMLName xml.Name         `xml:"output"`
	Changes []transitionItem `xml:"instancesSet>item"`
}

type transitionItem struct {
	ID       string    `xml:"instanceId"`
	Current  stateItem `xml:"currentState"`
	Previous stateItem `xml:"previousState"`
}

func trailTransition(_ *api.Call, output any) any {
	var items []map[string]any
	state := func(s stateItem) map[string]any { return map[string]any{"code": s.Code, "name": s.Name} }
	for _, item := range output.(transitionOutput).Changes {
		items = append(items, map[string]any{"instanceId": item.ID, "currentState": state(item.Current), "previousState": state(item.Previous)})
	}
	return map[string]any{"instancesSet": map[string]any{"items": items}}
}

// transition changes the states of all instances that are named, or of none.
func (b Backend) transition(change stateChange) func(*api.Call) (any, error) {
	return func(c *api.Call) (any, error) {
		for _, name := range []string{"Hibernate", "Force", "SkipOsShutdown"} {
			if _, err := c.Params.Flag(name); err != nil {
				return nil, err
			}
		}
		var out transitionOutput
		err := b.Update(func(tx *world.Tx) error {
			machines, err := b.mustAsk(c)
			if err != nil {
				return err
			}
			if err := c.DryRun(); err != nil {
				return err
			}
			for _, m := range machines {
				item := transitionItem{ID: m.ID, Previous: stateOf(m.State), Current: stateOf(m.State)}
				switch {
				case slices.Contains(change.from, m.State):
					item.Current = stateOf(change.way)
					tx.SetState(m, change.end)
					if change.end == world.Running {
						world.Set(tx, &m.Launched, b.Now()) // as on EC2, the time of the last start
						tx.SaveMachine(m)
					}
					if change.end == world.Terminated {
						b.Terminated(m) // a serial console session survives a stop
					}
				case !slices.Contains(change.already, m.State):
					return api.ClientError("IncorrectInstanceState", "This instance '%s' is not in a state from which it can be %s.", m.ID, change.verb)
				}
				out.Changes = append(out.Changes, item)
			}
			return nil
		})
		return out, err
	}
}

// mustAsk is asked with at least one instance. It needs the lock.
func (b Backend) mustAsk(c *api.Call) ([]*world.Machine, error) {
	if len(c.Params.Indices("InstanceId")) == 0 {
		return nil, api.MissingParameter("InstanceId")
	}
	return b.asked(c)
}

// rebootInstances leaves everything as it is but what a reboot ends.
func (b Backend) rebootInstances(c *api.Call) (any, error) {
	return done{Return: true}, b.Update(func(tx *world.Tx) error {
		machines, err := b.mustAsk(c)
		if err != nil {
			return err
		}
		if err := c.DryRun(); err != nil {
			return err
		}
		for _, m := range machines {
			if m.State != world.Running {
				return api.ClientError("IncorrectState", "Instance '%s' is not in state 'running'", m.ID)
			}
			old := false
			tx.Change(m, world.Changes{OldBIOS: &old}) // a reboot updates it
		}
		return nil
	})
}

type metadataOptionsOutput struct {
	XMLName xml.Name     `xml:"output"`
	ID      string       `xml:"instanceId"`
	Options metadataItem `xml:"instanceMetadataOptions"`
}

// modifyMetadataOptions acts on the instance's metadata service at once.
func (b Backend) modifyMetadataOptions(c *api.Call) (any, error) {
	id := c.Params.Text("InstanceId")
	if id == "" {
		return nil, api.MissingParameter("InstanceId")
	}
	changes, err := metadataChanges(c, "")
	if err != nil {
		return nil, err
	}
	if changes == (world.Changes{}) {
		return nil, api.ClientError("InvalidParameterCombination", "At least one metadata option must be given.")
	}
	out := metadataOptionsOutput{ID: id}
	err = b.Update(func(tx *world.Tx) error {
		m, err := b.instance(c, id)
		if err != nil {
			return err
		}
		if m.State == world.Terminated || m.State == world.ShuttingDown {
			return api.ClientError("IncorrectInstanceState", "The instance '%s' is %s.", id, m.State)
		}
		if changes.MetadataTags != nil && *changes.MetadataTags {
			if err := metadataTagKeys(m.Tags); err != nil {
				return err
			}
		}
		if err := c.DryRun(); err != nil {
			return err
		}
		tx.Change(m, changes)
		out.Options = metadataOf(m)
		out.Options.State = "pending"
		return nil
	})
	return out, err
}

// metadataChanges reads the options below prefix.
func metadataChanges(c *api.Call, prefix string) (world.Changes, error) {
	var changes world.Changes
	if text := c.Params.Text(prefix + "HttpTokens"); text != "" {
		tokens := world.Tokens(text)
		if tokens != world.TokensRequired && tokens != world.TokensOptional {
			return changes, api.InvalidParameter("Value (%s) for parameter HttpTokens is invalid. Valid values are optional and required.", api.Cut(text))
		}
		changes.Tokens = &tokens
	}
	if text := c.Params.Text(prefix + "HttpPutResponseHopLimit"); text != "" {
		hops, err := strconv.Atoi(text)
		if err != nil || hops < 1 || hops > 64 {
			return changes, api.InvalidParameter("Value (%s) for parameter HttpPutResponseHopLimit is invalid. It must be between 1 and 64.", api.Cut(text))
		}
		changes.HopLimit = &hops
	}
	off := func(on bool) *bool { off := !on; return &off }
	for _, option := range []struct {
		name string
		to   **bool
	}{{"HttpEndpoint", &changes.MetadataOff}, {"HttpProtocolIpv6", &changes.MetadataIPv6}, {"InstanceMetadataTags", &changes.MetadataTags}} {
		text := c.Params.Text(prefix + option.name)
		switch text {
		case "":
			continue
		case "enabled", "disabled":
		default:
			return changes, api.InvalidParameter("Value (%s) for parameter %s is invalid. Valid values are enabled and disabled.", api.Cut(text), option.name)
		}
		on := text == "enabled"
		if *option.to = &on; option.name == "HttpEndpoint" {
			*option.to = off(on)
		}
	}
	return changes, nil
}
