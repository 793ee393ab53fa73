#!/bin/sh
# The scripts of the package eic-agent-selinux, which set eic_selinux before this text: to
# install in %post, label in %posttrans, remove in %postun of a removal. Without SELinux's
# tools, or without a policy, none does anything. In a chroot, and where SELinux is
# disabled, the module is put in the store and counts from the next boot on.

EIC_SELINUX_MODULE=${EIC_SELINUX_MODULE:-/usr/share/selinux/packages/eic_agent.cil}

# eic_selinux_store prints the name of the policy that this system is configured to use.
eic_selinux_store() {
	command -v semodule >/dev/null 2>&1 || return 1
	[ -r /etc/selinux/config ] || return 1
	eic_store=$(sed -n 's/^[[:space:]]*SELINUXTYPE[[:space:]]*=[[:space:]]*\([A-Za-z0-9_-]*\).*/\1/p' /etc/selinux/config | tail -n 1)
	[ -n "$eic_store" ] && [ -d "/var/lib/selinux/$eic_store/active" ] || return 1
	echo "$eic_store"
}

# eic_selinux_load puts a changed store into force.
eic_selinux_load() {
	if selinuxenabled 2>/dev/null; then
		load_policy
	fi
}

# eic_selinux_install installs or replaces the module.
eic_selinux_install() {
	eic_store=$(eic_selinux_store) || return 0
	if ! semodule -n -s "$eic_store" -X 200 -i "$EIC_SELINUX_MODULE"; then
		echo "eic-agent: the SELinux module $EIC_SELINUX_MODULE cannot be installed: while SELinux enforces its policy, sshd gets no pushed keys" >&2
		return 1
	fi
	eic_selinux_load
}

# eic_selinux_label labels what the module names, when it is in place.
eic_selinux_label() {
	eic_selinux_store >/dev/null || return 0
	if selinuxenabled 2>/dev/null; then
		for eic_path in /usr/bin/eic-authkeys /usr/bin/eic-serial-getty /etc/eic-agent /run/eic-agent /run/eic-serial-getty; do
			[ ! -e "$eic_path" ] || restorecon -R "$eic_path" || return 1
		done
	fi
}

# eic_selinux_remove takes the module out of the store. One that an administrator put
# there at another priority stays.
eic_selinux_remove() {
	eic_store=$(eic_selinux_store) || return 0
	semodule -s "$eic_store" -lfull 2>/dev/null | grep -q '^200  *eic_agent ' || return 0
	semodule -n -s "$eic_store" -X 200 -r eic_agent || return 1
	eic_selinux_load
}

case ${eic_selinux-} in
install) eic_selinux_install ;;
label) eic_selinux_label ;;
remove) eic_selinux_remove ;;
esac
