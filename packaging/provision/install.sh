#!/bin/sh
# install.sh PACKAGE...: install eic-agent from a deb, from rpms (that of the agent and that of
# its SELinux module), or by name from a repository, and have sshd use it, as the step of an image's
# build: systemd need not run. The serial console is left alone. As a provisioner of Packer:
#
#	provisioner "file" {
#	  source      = "eic-agent_VERSION-1_amd64.deb"
#	  destination = "/tmp/eic-agent.deb"
#	}
#	provisioner "shell" {
#	  script          = "install.sh"
#	  execute_command = "sudo sh {{ .Path }} /tmp/eic-agent.deb"
#	}
set -eu
if [ $# = 0 ]; then
	echo "usage: $0 PACKAGE..." >&2
	exit 2
fi
# The scripts of the package enable it.
export EIC_ENABLE=1 DEBIAN_FRONTEND=noninteractive
if command -v dnf >/dev/null; then
	if rpm -q ec2-instance-connect >/dev/null 2>&1; then
		dnf -y swap ec2-instance-connect "$@"
	else
		dnf -y install "$@"
	fi
elif command -v yum >/dev/null; then
	if rpm -q ec2-instance-connect >/dev/null 2>&1; then
		rpm -e ec2-instance-connect
	fi
	yum -y install "$@"
else
	# It removes ec2-instance-connect by itself.
	apt-get -y --no-install-recommends install "$@"
fi
# rpm only warns where enabling failed. This says what is wrong.
eicctl sshd status
