package doctor

// An Entry is a problem that can be found.
type Entry struct {
	ID    string
	Area  Area
	Means string // what follows from it, in one sentence
}

// Catalog returns every problem that can be found, area by area. Their ids never
// change. eicctl-doctor(8) has the same list.
func Catalog() []Entry {
	return []Entry{
		{"sshd-missing", Server, "There is no sshd on this host."},
		{"sshd-not-running", Server, "sshd is there but does not run, and no socket would start it."},
		{"sshd-config-broken", Server, "sshd refuses its configuration as it is now; a running one goes on with what it read before."},
		{"sshd-not-reloaded", Server, "A file of sshd's configuration is younger than what sshd has read."},
		{"sshd-unit-overrides", Server, "The unit has another command on sshd's command line, which counts from the next start on."},
		{"command-none", Server, "sshd asks no command for keys."},
		{"command-aws", Server, "sshd asks the command of AWS's own package."},
		{"command-userdb", Server, "sshd asks systemd's userdbctl."},
		{"command-sssd", Server, "sshd asks the command of SSSD or FreeIPA."},
		{"command-oslogin", Server, "sshd asks the command of Google's OS Login."},
		{"command-opkssh", Server, "sshd asks opkssh."},
		{"command-unproved-script", Server, "sshd asks a script that fetches keys and prints them without a proof of who made them."},
		{"command-other", Server, "sshd asks some other command."},
		{"pubkey-authentication-off", Server, "sshd takes no keys at all."},

		{"command-arguments", Command, "sshd calls eic-authkeys in a way that it does not take."},
		{"command-token", Command, "The command has a token that this sshd does not know, which ends every connection that gets as far."},
		{"command-missing", Command, "The command, or a folder above it, is not there."},
		{"command-path-relative", Command, "The command's path is not absolute."},
		{"command-path-owner", Command, "The command or a folder above it does not belong to root, so that sshd does not run it."},
		{"command-path-writable", Command, "Others than root may write the command or a folder above it, so that sshd does not run it."},
		{"command-not-a-file", Command, "The command is no regular file."},
		{"command-user-unset", Command, "AuthorizedKeysCommandUser is not set, so that sshd runs no command."},
		{"command-user-missing", Command, "There is no such account as AuthorizedKeysCommandUser names."},
		{"command-user-root", Command, "sshd runs the command as root, which it does not need."},
		{"command-user-shared", Command, "sshd runs the command as an account that others use too, so that it has no cache."},
		{"command-hidden", Command, "The command's user cannot get to the command, so that sshd cannot look at it."},
		{"command-not-executable", Command, "The command's user may not run it."},
		{"command-does-not-run", Command, "The command cannot be run: it is broken, for another machine, or on a file system without programs."},

		{"user-name", Login, "The API takes no key for a user of this name."},
		{"user-missing", Login, "There is no such account."},
		{"user-denied", Login, "[users] in the agent's configuration lets no key be pushed for the user."},
		{"user-shell", Login, "The user's shell is not there or no program, so that sshd refuses the login."},
		{"user-shell-nologin", Login, "The user's shell ends every session at once."},
		{"user-locked", Login, "The account is locked, which counts with UsePAM no."},
		{"user-expired", Login, "The account has expired."},
		{"nologin", Login, "A nologin file keeps everybody but root out."},
		{"user-deny-users", Login, "DenyUsers keeps the user out."},
		{"user-allow-users", Login, "AllowUsers does not let the user in."},
		{"user-deny-groups", Login, "DenyGroups keeps the user out."},
		{"user-allow-groups", Login, "AllowGroups does not let the user in."},
		{"root-login-off", Login, "PermitRootLogin keeps root out."},
		{"authentication-methods", Login, "AuthenticationMethods has no way in with a key."},
		{"key-types-refused", Login, "sshd takes no key of a type that the agent gives."},

		{"config-missing", Settings, "The configuration that the command names is not there."},
		{"config-unsafe", Settings, "Others than root could change the configuration, so that the agent refuses it."},
		{"config-broken", Settings, "The configuration has an error."},
		{"config-unreadable", Settings, "The command's user cannot read the configuration or a file that it names."},
		{"roots-missing", Settings, "The file that [trust] roots names is not there."},
		{"roots-unsafe", Settings, "Others than root could change the file that [trust] roots names."},
		{"roots-broken", Settings, "The file that [trust] roots names holds no certificates, or a broken one."},
		{"expiry-time-unsupported", Settings, "[keys] expiry_time is on, and this sshd drops every line that has it."},

		{"imds-refused", Metadata, "The connection is refused to every user."},
		{"imds-no-route", Metadata, "There is no route to the metadata service."},
		{"imds-dropped", Metadata, "The packets of every user are dropped."},
		{"imds-denied", Metadata, "The kernel forbids the connection to every user."},
		{"imds-firewalled", Metadata, "A firewall keeps the command's user away, but not root."},
		{"imds-other-family", Metadata, "The metadata service is there by the other of IPv4 and IPv6 only."},
		{"imds-hop-limit", Metadata, "The session token never arrives, because the response hop limit is too low."},
		{"imds-silent", Metadata, "The connection is taken, but there is no answer."},
		{"imds-no-http", Metadata, "The connection is broken off."},
		{"imds-disabled", Metadata, "The metadata service is turned off for the instance."},
		{"imds-proxied", Metadata, "Requests come to the metadata service through a proxy, so that it gives no session token."},
		{"imds-v1-only", Metadata, "What answers knows version 1 only."},
		{"imds-foreign", Metadata, "What answers is not the metadata service."},
		{"imds-redirected", Metadata, "What answers redirects."},
		{"imds-throttled", Metadata, "Something asks the metadata service too often."},
		{"imds-failing", Metadata, "The metadata service answers with an error."},
		{"imds-token-refused", Metadata, "The metadata service refuses the session token that it gave."},
		{"imds-slow", Metadata, "The metadata service takes too long for a login."},

		{"clock-ahead", Clock, "This host's clock is ahead, so that pushed keys expire too early."},
		{"clock-behind", Clock, "This host's clock is behind, so that pushed keys seem to live too long."},

		{"not-ec2", Instance, "Nothing shows that this is an EC2 instance, so that no key is asked for."},
		{"board-unreadable", Instance, "The command's user cannot read which instance this is."},
		{"instance-mismatch", Instance, "Board and metadata service name different instances."},
		{"instance-id-bad", Instance, "The metadata service gives no instance id."},
		{"region-missing", Instance, "The metadata service has no region."},
		{"region-bad", Instance, "What the metadata service gives as region is none."},
		{"domain-missing", Instance, "The metadata service has no domain."},
		{"domain-bad", Instance, "What the metadata service gives as domain is none."},

		{"signer-missing", Chain, "The metadata service serves no signing chain."},
		{"signer-untrusted", Chain, "The signing chain does not lead to a trusted root, or is not valid now."},
		{"signer-name", Chain, "The signer is not the one of this region."},
		{"signer-revoked", Chain, "A certificate of the signing chain is revoked."},
		{"signer-ends-soon", Chain, "What proves the signer ends within half an hour."},
		{"staple-missing", Chain, "There is no proof that a certificate is not revoked."},
		{"staple-stale", Chain, "That proof does not hold now."},
		{"staple-untrusted", Chain, "That proof was not made by the issuer."},
		{"imds-unreachable", Chain, "The metadata service answers some requests, but not those for keys or signer in time."},
		{"imds-error", Chain, "The metadata service answers a request for keys or signer with an error."},

		{"bad-signature", Records, "A record was not signed by the signer as it stands."},
		{"expired", Records, "The pushed key has expired."},
		{"lifetime-too-long", Records, "A record claims to live longer than a pushed key may."},
		{"wrong-instance", Records, "A record was signed for another instance."},
		{"malformed", Records, "A record is not one of one plain public key."},
		{"key-type", Records, "The key's type is not allowed."},
		{"key-too-short", Records, "The key is too short."},
		{"caller-not-mapped", Records, "No row of [[users.map]] lets the caller push keys for the user."},

		{"cache-missing", Cache, "The cache directory is not there."},
		{"cache-not-a-directory", Cache, "In its place is something else."},
		{"cache-owner", Cache, "It does not belong to the command's user."},
		{"cache-mode", Cache, "It is open to others, or closed to its owner."},
		{"cache-full", Cache, "There is no room in it."},
		{"cache-read-only", Cache, "It is on a read-only file system."},
		{"cache-on-disk", Cache, "It is not in memory."},
		{"cache-unusable", Cache, "It cannot be used for another cause, which is given."},

		{"journal-missing", Journal, "There is neither journald nor syslog."},
		{"journal-dead", Journal, "Nobody reads journald's socket."},
		{"journal-denied", Journal, "The command's user may not write to journald."},
		{"journal-stuck", Journal, "journald hangs."},
		{"journal-suppressed", Journal, "journald left out records of sshd's unit, which the agent's are among."},

		{"selinux-denied", SELinux, "SELinux has denied the agent something within an hour."},
		{"selinux-policy-missing", SELinux, "SELinux is enforcing without the agent's policy."},

		{"version-mismatch", Programs, "A program is of another version than eicctl."},
		{"package-mismatch", Programs, "The installed package is of another version than eicctl."},

		{"serial-program-missing", SerialPorts, "A serial port runs the gate, and the gate is not there: the port is dead."},
	}
}
