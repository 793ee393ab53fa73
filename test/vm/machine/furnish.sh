#!/bin/sh
# Runs inside the new system before it is packed: what an AMI has beyond its
# packages, and the control channel of the tests.
set -eu

echo instance > /etc/hostname
echo '127.0.0.1 localhost instance' > /etc/hosts
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
echo 'LABEL=root / ext4 defaults 0 1' > /etc/fstab

# The user network of QEMU answers DHCP.
cat > /etc/systemd/network/80-dhcp.network <<'END'
[Match]
Name=eth0
[Network]
DHCP=ipv4
END
systemctl enable -q systemd-networkd.service

# What would only work in the background while something is measured.
systemctl mask -q apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service

# A root shell on a port of its own: it works when sshd, the network, the disk
# or the journal do not, since that is when it is needed.
cat > /etc/systemd/system/vm-control.service <<'END'
[Unit]
Description=Control channel of the virtual machine
DefaultDependencies=no
IgnoreOnIsolate=yes
BindsTo=dev-virtio\x2dports-control.device
After=dev-virtio\x2dports-control.device systemd-remount-fs.service
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'exec /bin/sh <>/dev/virtio-ports/control >&0 2>&0'
Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
WorkingDirectory=/root
Restart=always
RestartSec=100ms
OOMScoreAdjust=-1000
LimitCORE=0
[Install]
WantedBy=sysinit.target
END
systemctl enable -q vm-control.service

# Two people without any key.
for user in alice bob; do useradd --create-home --shell /bin/bash "$user"; done

# shellcheck source=/dev/null
. /etc/os-release
if [ "$VERSION_CODENAME" != bookworm ]; then
	# systemd listens, and starts sshd for the first connection.
	systemctl disable -q ssh.service
	systemctl enable -q ssh.socket
	# All logins come from one address, many to be refused.
	echo 'PerSourcePenalties no' > /etc/ssh/sshd_config.d/10-vm.conf
fi
