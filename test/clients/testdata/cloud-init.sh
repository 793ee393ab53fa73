#!/bin/sh
# Starts this system's cloud-init as at a first boot, with the metadata service at its
# own address.
set -eu
cd "$(mktemp -d)"
ip addr add 169.254.169.254/32 dev lo
ssh-keygen -q -t ed25519 -N '' -C '' -f key
printf '%s\n' '#cloud-config' 'hostname: chosen' 'write_files:' '- path: /etc/by-user-data' '  content: from the user data' >user-data
eic-emulator serve --allow-remote --imds 169.254.169.254:80 --ready-file /run/ready.sh --key-pair "mine=key.pub" \
	--instance "i-0123456789abcdef0,key=mine,user-data=user-data,private-ip=10.1.2.3,public-ip=192.0.2.7,tokens=required" >emulator.log 2>&1 &
until [ -s /run/ready.sh ]; do sleep 0.1; done

# The mark of an EC2 instance, as Xen has it: cloud-init asks for a session token there.
mkdir /run/sys
mount --rbind /sys /run/sys
mount -t tmpfs tmpfs /sys
for dir in class devices hypervisor; do mkdir /sys/$dir; done
for dir in class devices; do mount --bind /run/sys/$dir /sys/$dir; done
echo ec2e1916-9099-7caf-fd21-012345abcdef >/sys/hypervisor/uuid
echo 'datasource_list: [Ec2]' >/etc/cloud/cloud.cfg.d/99_ec2.cfg
cloud-init --version 2>&1
cloud-init init >init.log 2>&1 || { cat init.log /var/log/cloud-init.log; exit 1; }
# is WANT VARIABLE: cloud-init has this value of an instance.
is() {
	got=$(cloud-init query "$2") || got="an error"
	[ "$got" = "$1" ] || { echo "cloud-init query $2: $got, want $1"; tail -n 50 /var/log/cloud-init.log; exit 1; }
}
is i-0123456789abcdef0 instance_id
is us-east-1 region
is us-east-1a availability_zone
is aws cloud_name
is ec2 platform
is 10.1.2.3 ds.meta_data.local-ipv4
is 192.0.2.7 ds.meta_data.public-ipv4
is t3.micro ds.meta_data.instance-type
grep -qF "$(cat key.pub)" /home/*/.ssh/authorized_keys || { echo "the launch key is nowhere"; exit 1; }
grep -qx 'from the user data' /etc/by-user-data || { echo "the user data is not used"; exit 1; }
echo "done"
