package doctor

import (
	"errors"
	"os"

	"github.com/eic-agent/eic-agent/internal/config"
	"github.com/eic-agent/eic-agent/internal/instance"
	"github.com/eic-agent/eic-agent/internal/signer"
)

// notEC2 reports whether nothing shows that this host is an EC2 instance, where the
// configuration wants that shown.
func (e *exam) notEC2() bool {
	cfg := e.config().cfg
	if cfg == nil || cfg.Instance.Attest == config.AttestIMDS {
		return false
	}
	_, err := instance.Identify(os.DirFS("/"))
	return errors.Is(err, instance.ErrNotEC2)
}

// checkInstance compares what the board says with what the metadata service says.
func checkInstance(e *exam, f *findings) {
	const id = "instance"
	cfg := e.config().cfg
	if cfg == nil {
		f.unknown(id, "%s", because("the configuration cannot be used"))
		return
	}
	board, err := instance.Identify(os.DirFS("/"))
	p := e.probe()
	byIMDS := cfg.Instance.Attest == config.AttestIMDS
	switch {
	case byIMDS:
	case e.notEC2():
		f.problem(notEC2, advice("in a container or an emulation: set attest = \"imds\" in [instance] of %s; on EC2: mount /sys", e.config().path),
			"this host cannot be identified as an EC2 instance (board_asset_tag, hypervisor), so no keys are requested")
		return
	case p.fault == "" && p.Config == "" && p.NoBoard:
		f.problem(boardUnreadable, openFix("/sys/devices/virtual/dmi/id/board_asset_tag"),
			"user %s cannot read the instance ID, so the agent requests no keys", p.as)
		return
	case err != nil:
		f.unknown(id, "%v", err)
		return
	}
	if why := p.unreached(); why != "" {
		if board != "" && !byIMDS {
			f.ok(id, "the instance ID is %s, according to the board", board)
		} else {
			f.unknown(id, "%s", because(why))
		}
		return
	}
	served := p.Facts[factID]
	foreign := advice("find out which server answers as the metadata service on this host")
	switch {
	case served.Fault != "":
		f.unknown(id, "the metadata service does not return the instance ID: %s", served.Fault)
	case !instance.IsID(served.Value):
		f.problem(instanceIDBad, foreign, "the metadata service returns an invalid instance-id, %.64q", served.Value)
	case !byIMDS && board != "" && served.Value != board:
		f.problem(instanceMismatch, foreign, "the board has instance ID %s, but the metadata service returns %s: its records are for another instance", board, served.Value)
	case byIMDS:
		f.ok(id, "the instance ID is %s, according to the metadata service (attest = \"imds\" in %s)", served.Value, e.config().path)
	case board != "":
		f.ok(id, "the instance ID is %s, according to the board and the metadata service", board)
	default:
		f.ok(id, "the instance ID is %s, according to the metadata service, on Xen", served.Value)
	}
	checkFact(f, "region", regionMissing, regionBad, "placement/region", p.Facts[factRegion], signer.IsRegion)
	checkFact(f, "domain", domainMissing, domainBad, "services/domain", p.Facts[factDomain], config.IsDomain)
}

// checkFact looks at the form of what the signer's name is made of.
func checkFact(f *findings, id string, missing, bad *Entry, path string, served fact, good func(string) bool) {
	foreign := advice("find out which server answers as the metadata service on this host; EC2's always has this entry")
	switch {
	case served.Fault != "":
		f.unknown(id, "%s", served.Fault)
	case served.Missing || served.Value == "":
		f.problem(missing, foreign, "the metadata service has no %s, which the signer's name contains", path)
	case !good(served.Value):
		f.problem(bad, foreign, "the metadata service returns an invalid %s, %.64q", path, served.Value)
	default:
		f.ok(id, "%s is %s", path, served.Value)
	}
}
