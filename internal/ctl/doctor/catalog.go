package doctor

import "slices"

// An Entry is a problem that can be found.
type Entry struct {
	ID    string
	Area  Area
	Means string // what follows from it, in one sentence
}

var catalog []*Entry

// Catalog returns every problem that can be found, area by area. Their ids never
// change. eicctl-doctor(8) has the same list.
func Catalog() []*Entry { return slices.Clone(catalog) }

func entry(area Area, id, means string) *Entry {
	e := &Entry{id, area, means}
	catalog = append(catalog, e)
	return e
}

// entryOf returns the entry of a problem that another package or process names: a limit of
// sshd, a gap in the journal, a reason word, a fault of the probe. One that is not in the
// catalog keeps its id, and a test fails.
func entryOf(id string) *Entry {
	if i := slices.IndexFunc(catalog, func(e *Entry) bool { return e.ID == id }); i >= 0 {
		return catalog[i]
	}
	return &Entry{ID: id}
}

// Those that only entryOf finds have no name here.
var (
	sshdMissing           = entry(Server, "sshd-missing", "There is no sshd on this host.")
	sshdNotRunning        = entry(Server, "sshd-not-running", "sshd is there but does not run, and no socket would start it.")
	sshdConfigBroken      = entry(Server, "sshd-config-broken", "sshd refuses its configuration as it is now; a running one goes on with what it read before.")
	sshdNotReloaded       = entry(Server, "sshd-not-reloaded", "A file of sshd's configuration is younger than what sshd has read.")
	sshdReplaced          = entry(Server, "sshd-replaced", "A program of sshd was replaced since sshd was started, or is not of its version, and connections are reset: restart sshd.")
	sshdDirectory         = entry(Server, "sshd-directory", "The first of several sshds that ends takes away the directory without which the next does not start.")
	sshdUnitOverrides     = entry(Server, "sshd-unit-overrides", "The unit has another command on sshd's command line, which counts from the next start on.")
	commandNone           = entry(Server, "command-none", "sshd asks no command for keys.")
	commandAWS            = entry(Server, "command-aws", "sshd asks the command of AWS's own package.")
	commandUserdb         = entry(Server, "command-userdb", "sshd asks systemd's userdbctl.")
	commandSSSD           = entry(Server, "command-sssd", "sshd asks the command of SSSD or FreeIPA.")
	commandOslogin        = entry(Server, "command-oslogin", "sshd asks the command of Google's OS Login.")
	commandOpkssh         = entry(Server, "command-opkssh", "sshd asks opkssh.")
	commandUnprovedScript = entry(Server, "command-unproved-script", "sshd asks a script that fetches keys and prints them without a proof of who made them.")
	commandOther          = entry(Server, "command-other", "sshd asks some other command.")
	_                     = entry(Server, "pubkey-authentication-off", "sshd takes no keys at all.")
	revokedKeys           = entry(Server, "revoked-keys", "sshd cannot read its list of revoked keys, so that it refuses every key.")
	_                     = entry(Server, "client-penalty", "sshd drops a client's connections for a while after it failed (PerSourcePenalties).")
	_                     = entry(Server, "max-startups", "sshd dropped connections, because too many were under way (MaxStartups).")

	commandArguments     = entry(Command, "command-arguments", "sshd calls eic-authkeys with invalid arguments.")
	commandToken         = entry(Command, "command-token", "The command has a token that this sshd does not know, which ends every connection that gets as far.")
	commandMissing       = entry(Command, "command-missing", "The command, or a folder above it, is not there.")
	commandPathOwner     = entry(Command, "command-path-owner", "The command or a folder above it does not belong to root, so that sshd does not run it.")
	commandPathWritable  = entry(Command, "command-path-writable", "Others than root may write the command or a folder above it, so that sshd does not run it.")
	commandNotAFile      = entry(Command, "command-not-a-file", "The command is no regular file.")
	commandUserUnset     = entry(Command, "command-user-unset", "AuthorizedKeysCommandUser is not set, so that sshd runs no command.")
	commandUserMissing   = entry(Command, "command-user-missing", "There is no such account as AuthorizedKeysCommandUser names.")
	commandUserRoot      = entry(Command, "command-user-root", "sshd runs the command as root, which it does not need.")
	commandUserShared    = entry(Command, "command-user-shared", "sshd runs the command as an account that others use too, so that it has no cache.")
	commandHidden        = entry(Command, "command-hidden", "The command's user cannot get to the command, so that sshd cannot look at it.")
	commandNotExecutable = entry(Command, "command-not-executable", "The command's user may not run it.")
	commandDoesNotRun    = entry(Command, "command-does-not-run", "The command cannot be run: it is broken, for another machine, or on a file system without programs.")

	userName            = entry(Login, "user-name", "The API takes no key for a user of this name.")
	userNameDiffers     = entry(Login, "user-name-differs", "The host knows the account by another name, which sshd asks for.")
	userMissing         = entry(Login, "user-missing", "There is no such account.")
	userDenied          = entry(Login, "user-denied", "[users] in the agent's configuration lets no key be pushed for the user.")
	userNotMapped       = entry(Login, "user-not-mapped", "No [[users.map]] row in the agent's configuration lets anybody push keys for the user.")
	userShell           = entry(Login, "user-shell", "The user's shell is not there or no program, so that sshd refuses the login.")
	userShellNologin    = entry(Login, "user-shell-nologin", "The user's shell ends every session at once.")
	userLocked          = entry(Login, "user-locked", "The account is locked, which counts with UsePAM no.")
	userExpired         = entry(Login, "user-expired", "The account has expired.")
	userPasswordExpired = entry(Login, "user-password-expired", "The password has expired, which counts with UsePAM yes even for who has none.")
	nologin             = entry(Login, "nologin", "A nologin file keeps everybody but root out.")
	_                   = entry(Login, "user-deny-users", "DenyUsers keeps the user out.")
	_                   = entry(Login, "user-allow-users", "AllowUsers does not let the user in.")
	_                   = entry(Login, "user-deny-groups", "DenyGroups keeps the user out.")
	_                   = entry(Login, "user-allow-groups", "AllowGroups does not let the user in.")
	_                   = entry(Login, "root-login-off", "PermitRootLogin keeps root out.")
	_                   = entry(Login, "authentication-methods", "AuthenticationMethods has no way in with a key.")
	keyTypesRefused     = entry(Login, "key-types-refused", "sshd takes no key of a type that the agent gives.")

	configMissing         = entry(Settings, "config-missing", "The configuration that the command names is not there.")
	configUnsafe          = entry(Settings, "config-unsafe", "Others than root could change the configuration, so that the agent refuses it.")
	configBroken          = entry(Settings, "config-broken", "The configuration has an error.")
	configUnreadable      = entry(Settings, "config-unreadable", "The command's user cannot read the configuration or a file that it names.")
	rootsMissing          = entry(Settings, "roots-missing", "The file that [trust] roots names is not there.")
	rootsUnsafe           = entry(Settings, "roots-unsafe", "Others than root could change the file that [trust] roots names.")
	rootsBroken           = entry(Settings, "roots-broken", "The file that [trust] roots names holds no certificates, or a broken one.")
	expiryTimeUnsupported = entry(Settings, "expiry-time-unsupported", "[keys] expiry_time is on, and this sshd drops every line that has it.")
	usersNotEnforced      = entry(Settings, "users-not-enforced", "[users] enforce is false, so that keys which [users] and [[users.map]] would refuse are granted.")
	chainMissing          = entry(Settings, "chain-missing", "A command that [chain] names is not there.")
	chainUnsafe           = entry(Settings, "chain-unsafe", "A command that [chain] names is not asked: others than root may change it, or the command's user may not run it.")
	chainArguments        = entry(Settings, "chain-arguments", "A command that [chain] names is not asked: it needs a token that sshd does not hand to eic-authkeys.")

	imdsRefused      = entry(Metadata, "imds-refused", "The connection is refused to every user.")
	imdsNoRoute      = entry(Metadata, "imds-no-route", "There is no route to the metadata service.")
	imdsDropped      = entry(Metadata, "imds-dropped", "The packets of every user are dropped.")
	imdsDenied       = entry(Metadata, "imds-denied", "The kernel forbids the connection to every user.")
	imdsFirewalled   = entry(Metadata, "imds-firewalled", "A firewall keeps the command's user away, but not root.")
	imdsOtherFamily  = entry(Metadata, "imds-other-family", "The metadata service is there by the other of IPv4 and IPv6 only.")
	imdsHopLimit     = entry(Metadata, "imds-hop-limit", "The session token never arrives, because the response hop limit is too low.")
	imdsSilent       = entry(Metadata, "imds-silent", "The connection is taken, but there is no answer.")
	imdsNoHTTP       = entry(Metadata, "imds-no-http", "The connection is broken off.")
	imdsDisabled     = entry(Metadata, "imds-disabled", "The metadata service is turned off for the instance.")
	imdsProxied      = entry(Metadata, "imds-proxied", "Requests come to the metadata service through a proxy, so that it gives no session token.")
	imdsV1Only       = entry(Metadata, "imds-v1-only", "What answers knows version 1 only.")
	imdsForeign      = entry(Metadata, "imds-foreign", "What answers is not the metadata service.")
	imdsRedirected   = entry(Metadata, "imds-redirected", "What answers redirects.")
	imdsThrottled    = entry(Metadata, "imds-throttled", "Something asks the metadata service too often.")
	imdsFailing      = entry(Metadata, "imds-failing", "The metadata service answers with an error.")
	imdsTokenRefused = entry(Metadata, "imds-token-refused", "The metadata service refuses the session token that it gave.")
	imdsSlow         = entry(Metadata, "imds-slow", "The metadata service takes too long for a login.")

	clockAhead  = entry(Clock, "clock-ahead", "This host's clock is ahead, so that pushed keys expire too early.")
	clockBehind = entry(Clock, "clock-behind", "This host's clock is behind, so that pushed keys seem to live too long.")

	notEC2           = entry(Instance, "not-ec2", "Nothing shows that this is an EC2 instance, so that no key is asked for.")
	boardUnreadable  = entry(Instance, "board-unreadable", "The command's user cannot read which instance this is.")
	instanceMismatch = entry(Instance, "instance-mismatch", "Board and metadata service name different instances.")
	instanceIDBad    = entry(Instance, "instance-id-bad", "The metadata service gives no instance id.")
	regionMissing    = entry(Instance, "region-missing", "The metadata service has no region.")
	regionBad        = entry(Instance, "region-bad", "The metadata service returns an invalid region.")
	domainMissing    = entry(Instance, "domain-missing", "The metadata service has no domain.")
	domainBad        = entry(Instance, "domain-bad", "The metadata service returns an invalid domain.")

	signerMissing  = entry(Chain, "signer-missing", "The metadata service serves no signing chain.")
	_              = entry(Chain, "signer-untrusted", "The signing chain does not lead to a trusted root.")
	signerExpired  = entry(Chain, "signer-expired", "A certificate of the signing chain is not valid now.")
	_              = entry(Chain, "signer-name", "The signer is not the one of this region.")
	_              = entry(Chain, "signer-revoked", "A certificate of the signing chain is revoked.")
	_              = entry(Chain, "signer-search", "So many certificates of the chain could vouch for each other that no path was found.")
	signerEndsSoon = entry(Chain, "signer-ends-soon", "What proves the signer ends within half an hour.")
	_              = entry(Chain, "staple-missing", "There is no proof that a certificate is not revoked.")
	_              = entry(Chain, "staple-stale", "That proof does not hold now.")
	_              = entry(Chain, "staple-untrusted", "That proof was not made by the issuer.")
	_              = entry(Chain, "imds-unreachable", "The metadata service answers some requests, but not those for keys or signer in time.")
	_              = entry(Chain, "imds-error", "The metadata service answers a request for keys or signer with an error.")

	_ = entry(Records, "bad-signature", "A record was not signed by the signer as it stands.")
	_ = entry(Records, "expired", "The pushed key has expired.")
	_ = entry(Records, "lifetime-too-long", "A record claims to live longer than a pushed key may.")
	_ = entry(Records, "wrong-instance", "A record was signed for another instance.")
	_ = entry(Records, "malformed", "A record is not exactly one public key.")
	_ = entry(Records, "key-type", "The key's type is not allowed.")
	_ = entry(Records, "key-too-short", "The key is too short.")
	_ = entry(Records, "caller-not-mapped", "No row of [[users.map]] lets the caller push keys for the user.")
	_ = entry(Records, "key-type-refused", "sshd refuses keys of the type that was pushed.")
	_ = entry(Records, "key-size-refused", "sshd refuses RSA keys of the size that was pushed.")
	_ = entry(Records, "key-revoked", "The pushed key is on sshd's list of revoked keys.")

	cacheMissing       = entry(Cache, "cache-missing", "The cache directory is not there.")
	cacheNotADirectory = entry(Cache, "cache-not-a-directory", "In its place is something else.")
	cacheOwner         = entry(Cache, "cache-owner", "It does not belong to the command's user.")
	cacheMode          = entry(Cache, "cache-mode", "It is open to others, or closed to its owner.")
	cacheFull          = entry(Cache, "cache-full", "There is no room in it.")
	cacheReadOnly      = entry(Cache, "cache-read-only", "It is on a read-only file system.")
	cacheOnDisk        = entry(Cache, "cache-on-disk", "It is not in memory.")
	cacheUnusable      = entry(Cache, "cache-unusable", "It cannot be used for another cause, which is given.")

	journalMissing    = entry(Journal, "journal-missing", "There is neither journald nor syslog.")
	journalDead       = entry(Journal, "journal-dead", "Nobody reads journald's socket.")
	journalDenied     = entry(Journal, "journal-denied", "The command's user may not write to journald.")
	journalStuck      = entry(Journal, "journal-stuck", "journald hangs.")
	journalSuppressed = entry(Journal, "journal-suppressed", "journald left out records of sshd's unit, which the agent's are among.")
	journalNotKept    = entry(Journal, "journal-not-kept", "A record that the command's user writes does not come back out of the journal.")
	journalDamaged    = entry(Journal, "journal-damaged", "A file of the journal is damaged, so that its records are missing.")
	_                 = entry(Journal, "journal-storage", "journald keeps nothing.")
	_                 = entry(Journal, "journal-level", "journald keeps no record of a login or of a key that was provided.")
	_                 = entry(Journal, "dev-log", "What programs write to syslog does not reach journald.")
	_                 = entry(Journal, "sshd-log-level", "sshd logs no logins.")
	_                 = entry(Journal, "sshd-log-output", "sshd logs to a file or to standard error, not to the journal.")
	_                 = entry(Journal, "unit-log-level", "systemd drops the records of sshd's unit about logins and keys.")
	_                 = entry(Journal, "unit-log-namespace", "The records of sshd's unit go to a journal of their own.")

	selinuxDenied        = entry(SELinux, "selinux-denied", "SELinux has denied the agent something within an hour.")
	selinuxPolicyMissing = entry(SELinux, "selinux-policy-missing", "SELinux is enforcing without the agent's policy.")
	selinuxLabel         = entry(SELinux, "selinux-label", "The command or its cache has not the type that the agent's policy is about.")

	versionMismatch = entry(Programs, "version-mismatch", "A program is of another version than eicctl.")
	packageModified = entry(Programs, "package-modified", "Files of the agent's package are missing, or are not those that it brought.")

	serialProgramMissing = entry(SerialPorts, "serial-program-missing", "A serial port runs the gate, and the gate is not there: the port is dead.")
	serialDropIn         = entry(SerialPorts, "serial-drop-in", "The drop-in that locks the serial port is missing, or was changed, since eicctl serial enable wrote it.")
	serialOverridden     = entry(SerialPorts, "serial-overridden", "A drop-in is to lock the serial port, and systemd starts another command.")
	serialUndecided      = entry(SerialPorts, "serial-undecided", "Nobody has chosen what becomes of the serial port while the metadata service cannot be reached.")
	serialUserDenied     = entry(SerialPorts, "serial-user-denied", "[users] lets no key be pushed that would open the serial port.")
)
