#!/bin/sh
# Runs inside the new system after furnish.sh, where Recipe.SELinux is set, and prints the
# labels of its files as commands of debugfs: setting them takes rights over the whole
# machine, unless it is done in the image.
set -eu

sed -i 's/^SELINUX=.*/SELINUX=enforcing/' /etc/selinux/config

# What an administrator's shell is. Debian's policy has no domain for one that systemd starts.
mkdir /etc/systemd/system/vm-control.service.d
printf '[Service]\nSELinuxContext=unconfined_u:unconfined_r:unconfined_t:s0\n' > /etc/systemd/system/vm-control.service.d/selinux.conf

find / -xdev -print0 | xargs -0 matchpathcon | sed '/<<none>>$/d; s/^\(.*\)	\(.*\)$/ea_set "\1" security.selinux "\2"/'
