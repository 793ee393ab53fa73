package packages

import (
	"os"
	"strings"
	"testing"
)

// machines are those on which what provisions hosts is run: with deb and apt, and with
// rpm and dnf. Each has the agent as a package to install, and AWS's package if theirs.
var machines = map[string]func(t *testing.T, theirs bool) (r *root, packages []string){
	"apt": func(t *testing.T, theirs bool) (*root, []string) {
		r := newRoot(t)
		if theirs {
			r.run("dpkg", "-i", r.bring(buildTheirs(t)))
		}
		return r, []string{r.bring(deb("eic-agent", newVersion))}
	},
	"dnf": func(t *testing.T, theirs bool) (*root, []string) {
		r := newDNFRoot(t)
		if theirs {
			r.run("rpm", "-i", r.bring(buildRPM(t, "ec2-instance-connect", "%description\n.\n%files\n")))
		}
		r.write("/etc/dnf/dnf.conf", "[main]\nreleasever=1\n", 0o644)
		r.write("/etc/dnf/vars/releasever", "1\n", 0o644)
		return r, []string{"eic-agent"}
	},
}

// What Packer and EC2 Image Builder run installs the agent in an image, in the place of AWS's package.
func TestImages(t *testing.T) {
	t.Parallel()
	for name, machine := range machines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, theirs := range []bool{false, true} {
				r, packages := machine(t, theirs)
				r.run("sh", append([]string{r.bring("../../packaging/provision/install.sh")}, packages...)...)
				if got := r.sshd(); !strings.Contains(got, ourCommand) {
					t.Errorf("install.sh: not enabled; sshd has:\n%s", got)
				}

				r, packages = machine(t, theirs)
				r.bring("../../packaging/provision/image-builder.yaml")
				for _, phase := range []string{"build", "validate"} {
					r.run("python3", "-c", `
import subprocess, sys, yaml
component = yaml.safe_load(open("/tmp/image-builder.yaml"))
assert component["schemaVersion"] == 1.0
for phase in component["phases"]:
    if phase["name"] == sys.argv[1]:
        for step in phase["steps"]:
            assert step["action"] == "ExecuteBash"
            for command in step["inputs"]["commands"]:
                subprocess.run(["bash", "-c", command.replace("{{ Package }}", sys.argv[2])], check=True)`, phase, packages[0])
				}
				if got := r.sshd(); !strings.Contains(got, ourCommand) {
					t.Errorf("image-builder.yaml: not enabled; sshd has:\n%s", got)
				}
			}
		})
	}
}

// cloud-init accepts the user data, and the script that it makes of the commands installs and enables the package.
func TestCloudInit(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	file := r.bring(deb("eic-agent", newVersion))
	data := r.read(r.bring("../../packaging/provision/user-data.yaml"))
	data = strings.ReplaceAll(data, "https://packages.example.com/eic-agent_VERSION-1_amd64.deb", "file://"+file)
	data = strings.ReplaceAll(data, "SHA256 ", strings.Fields(r.run("sha256sum", file))[0]+" ")
	r.write("/tmp/user-data.yaml", data, 0o644)
	r.run("cloud-init", "schema", "--config-file", "/tmp/user-data.yaml")
	r.run("cloud-init", "--file", "/tmp/user-data.yaml", "single", "--name", "runcmd", "--frequency", "always")
	// At boot the module scripts-user runs it, which needs a data source.
	out := r.run("sh", "-c", "exec /var/lib/cloud/instances/*/scripts/runcmd")
	if got := r.sshd(); !strings.Contains(got, ourCommand) {
		t.Errorf("not enabled: %s\nsshd has:\n%s", out, got)
	}
	// What is not the package of that sum is not installed.
	r.run("dpkg", "--purge", "eic-agent")
	r.write(file, "other", 0o644)
	if out, err := r.try(nil, "sh", "-c", "exec /var/lib/cloud/instances/*/scripts/runcmd"); err == nil || !strings.Contains(out, "FAILED") {
		t.Errorf("a package with another sum is not refused: %v\n%s", err, out)
	}
}

// The role of Ansible enables, migrates, disables and removes; a second run changes nothing.
func TestAnsible(t *testing.T) {
	t.Parallel()
	for name, machine := range machines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, packages := machine(t, true)
			if err := os.CopyFS(r.dir+"/tmp/roles/eic_agent", os.DirFS("../../packaging/ansible/eic_agent")); err != nil {
				t.Fatal(err)
			}
			// The root is a Debian, on which Ansible would not think of dnf.
			r.write("/tmp/site.yml", `
- hosts: all
  connection: local
  tasks:
    - ansible.builtin.set_fact: {pkg_mgr: `+name+`, cacheable: true}
    - ansible.builtin.include_role: {name: eic_agent}
`, 0o644)
			play := func(vars ...string) (string, error) {
				args := []string{"-i", "localhost,", "/tmp/site.yml", "-e", "ansible_package_use=" + name, "-e", "eic_agent_package=" + packages[0]}
				for _, v := range vars {
					args = append(args, "-e", v)
				}
				return r.try([]string{"HOME=/root", "ANSIBLE_NOCOLOR=1"}, "ansible-playbook", args...)
			}
			if out, err := play(); err == nil || !strings.Contains(out, "set eic_agent_migrate") {
				t.Fatalf("ec2-instance-connect is replaced unasked: %v\n%s", err, out)
			}
			for _, step := range []struct {
				vars []string
				sshd bool
				file string // that has to exist
			}{
				{[]string{`{"eic_agent_migrate": true}`}, true, "/usr/bin/eicctl"},
				{[]string{`{"eic_agent_serial_when_unreachable": "lock", "eic_agent_config": "[users]\ndeny = [\"root\"]\n"}`}, true, serialDropIn},
				{[]string{`{"eic_agent_state": "disabled", "eic_agent_serial_when_unreachable": "lock"}`}, false, "/usr/bin/eicctl"},
				{nil, true, "/usr/bin/eicctl"},
				{[]string{`{"eic_agent_state": "absent"}`}, false, ""},
			} {
				out, err := play(step.vars...)
				if err != nil || strings.Contains(out, "changed=0 ") {
					t.Fatalf("%q: %v\n%s", step.vars, err, out)
				}
				if got := r.sshd(); strings.Contains(got, ourCommand) != step.sshd {
					t.Errorf("%q: %s\nsshd has:\n%s", step.vars, out, got)
				}
				if step.file != "" && !r.exists(step.file) {
					t.Errorf("%q: no %s\n%s", step.vars, step.file, out)
				}
				if out, err := play(step.vars...); err != nil || !strings.Contains(out, "changed=0 ") {
					t.Errorf("%q, a second time: %v\n%s", step.vars, err, out)
				}
			}
			if r.exists(serialDropIn) || r.exists("/usr/bin/eicctl") {
				t.Error("the serial console is held, or the program left")
			}
		})
	}
}
