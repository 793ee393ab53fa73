package packages

import (
	"strings"
	"testing"
)

// newDNFRoot is a root with the newest rpm and dnf, in which both know a distribution, and
// that has packages in a repository at /srv/dnf, signed as packaging/rpm/repository does it.
func newDNFRoot(t *testing.T) *root {
	t.Helper()
	r := copyOf(t, newest)
	r.run("rpm", "-i", r.bring(buildDistribution(t)))
	r.run("mkdir", "/tmp/packages")
	r.publish(oldVersion)
	r.write("/etc/yum.repos.d/eic-agent.repo", strings.ReplaceAll(r.read("/srv/dnf/eic-agent.repo"), "https://packages.example.com", "file:///srv"), 0o644)
	return r
}

// publish adds a version to the repository.
func (r *root) publish(version string) {
	r.t.Helper()
	for _, file := range append(agentRPMs(version), rpm("eic-emulator", version)) {
		r.run("mv", r.bring(file), "/tmp/packages/")
	}
	r.run("sh", "-ec", `
		export GNUPGHOME=/tmp/gnupg
		[ -d $GNUPGHOME ] || { mkdir -m 700 $GNUPGHOME; gpg --quiet --batch --passphrase '' --quick-generate-key packages@example.com rsa3072 sign never; }
		sh "$1" /tmp/packages /srv/dnf packages@example.com`, "sh", r.bring("../../packaging/rpm/repository"))
}

func (r *root) dnf(env []string, args ...string) (string, error) {
	return r.try(env, "dnf", append([]string{"--releasever=1", "--assumeyes", "--setopt=metadata_expire=0"}, args...)...)
}

func (r *root) mustDNF(args ...string) string {
	r.t.Helper()
	out, err := r.dnf(nil, args...)
	if err != nil {
		r.t.Fatalf("dnf %q: %v\n%s", args, err, out)
	}
	return out
}

// From a signed repository dnf installs the agent with its policy module, upgrades it, and
// removes both.
func TestDNF(t *testing.T) {
	t.Parallel()
	r := newDNFRoot(t)
	out, err := r.dnf([]string{"EIC_ENABLE=1"}, "install", "eic-agent")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("not enabled: %s\n%s", out, got)
	}
	if got := r.run("rpm", "-q", "eic-agent", "eic-agent-selinux"); strings.Count(got, oldVersion+"-1.") != 2 {
		t.Errorf("installed: %s", got)
	}
	r.publish(newVersion)
	r.mustDNF("upgrade")
	if got, want := r.run("eic-authkeys", "--version"), "eic-authkeys "+newVersion+"\n"; got != want {
		t.Errorf("after the upgrade: %q", got)
	}
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("after the upgrade sshd has:\n%s", got)
	}
	r.mustDNF("remove", "eic-agent")
	r.checkNoLogin()
	if got, err := r.try(nil, "rpm", "-q", "eic-agent-selinux"); err == nil {
		t.Errorf("left: %s", got)
	}
	if r.exists("/usr/bin/eicctl") || r.account("eic-agent") != "" {
		t.Error("the programs or the account are left")
	}

	// What was altered after the signature is refused.
	r.run("sh", "-ec", `cd /srv/dnf; rpmsign --delsign eic-emulator-*; createrepo_c --quiet .; GNUPGHOME=/tmp/gnupg gpg --batch --yes --armor --detach-sign repodata/repomd.xml`)
	if out, err := r.dnf(nil, "install", "eic-emulator"); err == nil || !strings.Contains(out, "not signed") {
		t.Errorf("an unsigned package is installed: %v\n%s", err, out)
	}
	r.run("sh", "-ec", `cd /srv/dnf; createrepo_c --quiet --revision 7 .`)
	if out, err := r.dnf(nil, "--refresh", "install", "eic-emulator"); err == nil || !strings.Contains(out, "repomd.xml") {
		t.Errorf("a repository with a wrong signature is used: %v\n%s", err, out)
	}
}

// In a swap dnf takes AWS's package away, and sshd is the agent's afterwards.
func TestDNFSwap(t *testing.T) {
	t.Parallel()
	r := newDNFRoot(t)
	r.run("rpm", "-i", r.bring(buildRPM(t, "ec2-instance-connect", "%description\n.\n%files\n")))
	if out, err := r.dnf(nil, "install", "eic-agent"); err == nil || !strings.Contains(out, "conflicts with") {
		t.Errorf("installed beside ec2-instance-connect: %v\n%s", err, out)
	}
	out, err := r.dnf([]string{"EIC_ENABLE=1"}, "swap", "ec2-instance-connect", "eic-agent")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("not enabled: %s\n%s", out, got)
	}
}
