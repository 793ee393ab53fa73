// Libraries links what eic-authkeys cannot do without and does nothing: what it costs is
// what a run pays for having them.
package main

import (
	_ "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	_ "github.com/coreos/go-systemd/v22/journal"
	_ "github.com/pelletier/go-toml/v2"
	_ "go.uber.org/zap"
	_ "golang.org/x/crypto/ocsp"
	_ "golang.org/x/crypto/ssh"
)

func main() {}
