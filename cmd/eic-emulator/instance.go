package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// parseInstance reads ID[,SETTING=VALUE]... . The values themselves are checked
// by emulator.New.
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
		if err := setInstance(&instance, name, value); err != nil {
			return emulator.Instance{}, fmt.Errorf("--instance %q: %w", text, err)
		}
	}
	return instance, nil
}

func setInstance(i *emulator.Instance, name, value string) error {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		i.Tags = append(i.Tags, emulator.Tag{Key: key, Value: value})
		return nil
	}
	if path, ok := strings.CutPrefix(name, "latest:"); ok {
		return setServed(i, path, value)
	}
	switch name {
	case "zone":
		i.Zone = value
	case "type":
		i.Type = value
	case "state":
		i.State = emulator.State(value)
	case "imds":
		i.IMDSAddress = value
	case "imds6":
		i.IMDSAddress6 = value
	case "account":
		i.Account = value
	case "key":
		i.KeyName = value
	case "public-ip":
		i.PublicIP = value
	case "private-ip":
		i.PrivateIP = value
	case "ipv6":
		i.IPv6 = value
	case "tokens":
		i.Tokens = emulator.Tokens(value)
	case "metadata":
		return oneOf(name, value, "on", "off", &i.MetadataOff)
	case "serial":
		i.Serial = value
	case "hop-limit":
		hops, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("hop-limit must be between 1 and 64, not %q", value)
		}
		i.HopLimit = hops
	case "metadata-tags":
		return oneOf(name, value, "off", "on", &i.MetadataTags)
	case "user-data":
		data, err := readBounded(value, emulator.MaxUserData)
		if err != nil {
			return fmt.Errorf("cannot use the user data: %w", err)
		}
		i.UserData = string(data)
	case "role":
		i.Role = value
	case "ami":
		i.Image = value
	case "life-cycle":
		i.LifeCycle = value
	case "bios":
		return oneOf(name, value, "new", "old", &i.OldBIOS)
	default:
		return fmt.Errorf("unknown setting %q; the settings are zone, type, state, imds, imds6, account, key, public-ip, private-ip, ipv6, tokens, hop-limit, metadata, metadata-tags, user-data, role, ami, life-cycle, tag:NAME, latest:PATH, bios and serial", name)
	}
	return nil
}

// maxServed bounds a file that the metadata service serves.
const maxServed = 64 << 10

// setServed takes a text, or @FILE, for a path below /latest/.
func setServed(i *emulator.Instance, path, value string) error {
	if file, ok := strings.CutPrefix(value, "@"); ok {
		data, err := readBounded(file, maxServed)
		if err != nil {
			return fmt.Errorf("latest:%s: %w", path, err)
		}
		value = string(data)
	}
	if i.Served == nil {
		i.Served = make(map[string]string)
	}
	i.Served[path] = value
	return nil
}

// oneOf sets what is said by yes and not by no.
func oneOf(name, value, no, yes string, to *bool) error {
	if value != no && value != yes {
		return fmt.Errorf("%s must be %s or %s, not %q", name, no, yes, value)
	}
	*to = value == yes
	return nil
}

// parseCredential reads KEYID:SECRET[:TOKEN]=ARN.
func parseCredential(text string) (emulator.Credential, error) {
	key, arn, ok := strings.Cut(text, "=arn:")
	parts := strings.SplitN(key, ":", 3)
	if !ok || len(parts) < 2 {
		return emulator.Credential{}, fmt.Errorf("--credential %q is not KEYID:SECRET[:TOKEN]=ARN", redact(text))
	}
	credential := emulator.Credential{KeyID: parts[0], Secret: parts[1], ARN: "arn:" + arn}
	if len(parts) == 3 {
		credential.Token = parts[2]
	}
	return credential, nil
}

// redact leaves the id of a credential, and not its secret.
func redact(text string) string {
	id, _, _ := strings.Cut(text, ":")
	if len(id) == len(text) {
		return "..."
	}
	return id + ":..."
}

// parseDeny reads ACTION[,caller=PATTERN][,resource=PATTERN][,osuser=PATTERN].
func parseDeny(text string) (emulator.Deny, error) {
	parts := strings.Split(text, ",")
	deny := emulator.Deny{Action: parts[0]}
	if !strings.ContainsAny(deny.Action, ":*?") {
		return emulator.Deny{}, fmt.Errorf("--deny %q: %q is not an action, such as ec2-instance-connect:* or *", text, deny.Action)
	}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		field := map[string]*string{"caller": &deny.Caller, "resource": &deny.Resource, "osuser": &deny.OSUser}[name]
		if field == nil || value == "" {
			return emulator.Deny{}, fmt.Errorf("--deny %q: %q is not caller=, resource= or osuser= and a pattern", text, part)
		}
		*field = value
	}
	return deny, nil
}
