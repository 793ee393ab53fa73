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
	sshdMissing           = entry(Server, "sshd-missing", "sshd is not installed on this host.")
	sshdNotRunning        = entry(Server, "sshd-not-running", "sshd is not running, and no systemd socket starts it.")
	sshdConfigBroken      = entry(Server, "sshd-config-broken", "sshd rejects its configuration; an sshd that is already running keeps using the old one.")
	sshdNotReloaded       = entry(Server, "sshd-not-reloaded", "sshd's configuration has changed since sshd read it.")
	sshdReplaced          = entry(Server, "sshd-replaced", "An sshd program was replaced after sshd started, or has another version, and sshd resets connections: restart sshd.")
	sshdDirectory         = entry(Server, "sshd-directory", "When one of several sshds stops, systemd removes the runtime directory that the others need.")
	sshdUnitOverrides     = entry(Server, "sshd-unit-overrides", "The unit sets another AuthorizedKeysCommand on sshd's command line; it takes effect when sshd is restarted.")
	commandNone           = entry(Server, "command-none", "AuthorizedKeysCommand is not set.")
	commandAWS            = entry(Server, "command-aws", "AuthorizedKeysCommand is that of AWS's own package.")
	commandUserdb         = entry(Server, "command-userdb", "AuthorizedKeysCommand is systemd's userdbctl.")
	commandSSSD           = entry(Server, "command-sssd", "AuthorizedKeysCommand is that of SSSD or FreeIPA.")
	commandOslogin        = entry(Server, "command-oslogin", "AuthorizedKeysCommand is that of Google's OS Login.")
	commandOpkssh         = entry(Server, "command-opkssh", "AuthorizedKeysCommand is opkssh.")
	commandUnprovedScript = entry(Server, "command-unproved-script", "AuthorizedKeysCommand is a script that prints the keys it fetches without verifying them.")
	commandOther          = entry(Server, "command-other", "AuthorizedKeysCommand is another command.")
	_                     = entry(Server, "pubkey-authentication-off", "PubkeyAuthentication is off: sshd accepts no keys.")
	revokedKeys           = entry(Server, "revoked-keys", "sshd cannot use the RevokedKeys file, so it refuses every key.")
	_                     = entry(Server, "client-penalty", "sshd drops connections of a client that failed to authenticate (PerSourcePenalties).")
	_                     = entry(Server, "max-startups", "sshd dropped connections: too many were unauthenticated (MaxStartups).")

	commandArguments     = entry(Command, "command-arguments", "sshd calls eic-authkeys with invalid arguments.")
	commandToken         = entry(Command, "command-token", "AuthorizedKeysCommand has a token that this sshd does not support; sshd closes the connection when it runs the command.")
	commandMissing       = entry(Command, "command-missing", "The command, or a directory in its path, does not exist.")
	commandPathOwner     = entry(Command, "command-path-owner", "The command or a directory in its path is not owned by root, so sshd does not run it.")
	commandPathWritable  = entry(Command, "command-path-writable", "The command or a directory in its path is writable by users other than root, so sshd does not run it.")
	commandNotAFile      = entry(Command, "command-not-a-file", "The command is not a regular file.")
	commandUserUnset     = entry(Command, "command-user-unset", "AuthorizedKeysCommandUser is not set, so sshd runs no command for such a user.")
	commandUserMissing   = entry(Command, "command-user-missing", "The account that AuthorizedKeysCommandUser names does not exist.")
	commandUserRoot      = entry(Command, "command-user-root", "AuthorizedKeysCommandUser is root, which the command does not need.")
	commandUserShared    = entry(Command, "command-user-shared", "AuthorizedKeysCommandUser is an account shared with other programs, so eic-authkeys does not use its cache.")
	commandHidden        = entry(Command, "command-hidden", "The command's user cannot search a directory in the command's path.")
	commandNotExecutable = entry(Command, "command-not-executable", "The command's user has no permission to execute it.")
	commandDoesNotRun    = entry(Command, "command-does-not-run", "The command does not run: it is damaged, built for another architecture, or on a file system mounted noexec.")

	userName            = entry(Login, "user-name", "The API accepts no key for a user of this name.")
	userNameDiffers     = entry(Login, "user-name-differs", "The account has another name on this host, and sshd looks up keys by that name.")
	userMissing         = entry(Login, "user-missing", "The account does not exist.")
	userDenied          = entry(Login, "user-denied", "[users] in the agent's configuration denies pushed keys for the user.")
	userNotMapped       = entry(Login, "user-not-mapped", "No [[users.map]] row in the agent's configuration has the user.")
	userShell           = entry(Login, "user-shell", "The user's shell does not exist or is not executable, so sshd refuses the login.")
	userShellNologin    = entry(Login, "user-shell-nologin", "The user's shell ends every session immediately.")
	chrootDirectory     = entry(Login, "chroot-directory", "ChrootDirectory does not exist, or users other than root could change it, so sshd ends every session.")
	_                   = entry(Login, "key-options", "[keys] options contains a from= or expiry-time= that makes sshd refuse the key.")
	userLocked          = entry(Login, "user-locked", "The account is locked, and UsePAM is no.")
	userExpired         = entry(Login, "user-expired", "The account has expired.")
	userPasswordExpired = entry(Login, "user-password-expired", "The password has expired, and UsePAM is yes; this applies to accounts without a password too.")
	nologin             = entry(Login, "nologin", "A nologin file refuses every user but root.")
	_                   = entry(Login, "user-deny-users", "DenyUsers refuses the user.")
	_                   = entry(Login, "user-allow-users", "AllowUsers does not include the user.")
	_                   = entry(Login, "user-deny-groups", "DenyGroups refuses the user.")
	_                   = entry(Login, "user-allow-groups", "AllowGroups includes none of the user's groups.")
	_                   = entry(Login, "root-login-off", "PermitRootLogin refuses root.")
	_                   = entry(Login, "authentication-methods", "AuthenticationMethods has no list that a key can satisfy.")
	_                   = entry(Login, "max-auth-tries", "MaxAuthTries is 0: sshd ends every connection before it tries a key.")
	_                   = entry(Login, "max-sessions", "MaxSessions is 0: sshd opens no session after the login.")
	keyTypesRefused     = entry(Login, "key-types-refused", "sshd accepts none of the key types that the agent provides.")

	configMissing         = entry(Settings, "config-missing", "The configuration file that the command names does not exist.")
	configUnsafe          = entry(Settings, "config-unsafe", "Users other than root could change the configuration, so the agent refuses it.")
	configBroken          = entry(Settings, "config-broken", "The configuration has an error.")
	configUnreadable      = entry(Settings, "config-unreadable", "The command's user cannot read the configuration, or a file that it names.")
	rootsMissing          = entry(Settings, "roots-missing", "The file that [trust] roots names does not exist.")
	rootsUnsafe           = entry(Settings, "roots-unsafe", "Users other than root could change the file that [trust] roots names.")
	rootsBroken           = entry(Settings, "roots-broken", "The file that [trust] roots names has no certificates, or an invalid one.")
	expiryTimeUnsupported = entry(Settings, "expiry-time-unsupported", "[keys] expiry_time is true, and this sshd ignores lines with that option.")
	usersNotEnforced      = entry(Settings, "users-not-enforced", "[users] enforce is false: keys that [users] and [[users.map]] would refuse are granted.")
	chainMissing          = entry(Settings, "chain-missing", "A command in [chain] does not exist.")
	chainUnsafe           = entry(Settings, "chain-unsafe", "A command in [chain] is not run: users other than root could change it, or the command's user cannot execute it.")
	chainArguments        = entry(Settings, "chain-arguments", "A command in [chain] is not run: it needs a token that AuthorizedKeysCommand does not pass to eic-authkeys.")

	imdsRefused      = entry(Metadata, "imds-refused", "The connection is refused for every user.")
	imdsNoRoute      = entry(Metadata, "imds-no-route", "There is no route to the metadata service.")
	imdsDropped      = entry(Metadata, "imds-dropped", "Packets are dropped for every user.")
	imdsDenied       = entry(Metadata, "imds-denied", "The kernel denies the connection for every user.")
	imdsFirewalled   = entry(Metadata, "imds-firewalled", "A firewall blocks the command's user, but not root.")
	imdsOtherFamily  = entry(Metadata, "imds-other-family", "The metadata service answers on the other address family only (IPv4 or IPv6).")
	imdsHopLimit     = entry(Metadata, "imds-hop-limit", "The session token does not arrive: the response hop limit is too low.")
	imdsSilent       = entry(Metadata, "imds-silent", "The connection is accepted, but there is no response.")
	imdsNoHTTP       = entry(Metadata, "imds-no-http", "The connection is closed without a valid HTTP response.")
	imdsDisabled     = entry(Metadata, "imds-disabled", "The metadata service is disabled for the instance.")
	imdsProxied      = entry(Metadata, "imds-proxied", "Requests reach the metadata service through a proxy, so it issues no session token.")
	imdsV1Only       = entry(Metadata, "imds-v1-only", "The server supports IMDSv1 only.")
	imdsForeign      = entry(Metadata, "imds-foreign", "The server is not the EC2 metadata service.")
	imdsRedirected   = entry(Metadata, "imds-redirected", "The server answers with a redirect.")
	imdsThrottled    = entry(Metadata, "imds-throttled", "The metadata service throttles requests: something on this host sends too many.")
	imdsFailing      = entry(Metadata, "imds-failing", "The metadata service answers with an error.")
	imdsTokenRefused = entry(Metadata, "imds-token-refused", "The metadata service rejects the session token that it issued.")
	imdsSlow         = entry(Metadata, "imds-slow", "The metadata service is too slow for a login.")

	clockAhead  = entry(Clock, "clock-ahead", "This host's clock is ahead, so pushed keys expire too early.")
	clockBehind = entry(Clock, "clock-behind", "This host's clock is behind, so pushed keys seem to live too long.")

	notEC2           = entry(Instance, "not-ec2", "This host cannot be identified as an EC2 instance, so no keys are requested.")
	boardUnreadable  = entry(Instance, "board-unreadable", "The command's user cannot read the instance ID.")
	instanceMismatch = entry(Instance, "instance-mismatch", "The DMI board asset tag and the metadata service report different instance IDs.")
	instanceIDBad    = entry(Instance, "instance-id-bad", "The metadata service returns an invalid instance ID.")
	regionMissing    = entry(Instance, "region-missing", "The metadata service has no region.")
	regionBad        = entry(Instance, "region-bad", "The metadata service returns an invalid region.")
	domainMissing    = entry(Instance, "domain-missing", "The metadata service has no domain.")
	domainBad        = entry(Instance, "domain-bad", "The metadata service returns an invalid domain.")

	signerMissing  = entry(Chain, "signer-missing", "The metadata service serves no signing chain.")
	_              = entry(Chain, "signer-untrusted", "The signing chain does not verify against a trusted root.")
	signerExpired  = entry(Chain, "signer-expired", "A certificate of the signing chain is not valid now.")
	_              = entry(Chain, "signer-name", "The signer certificate is not for this region.")
	_              = entry(Chain, "signer-revoked", "A certificate of the signing chain is revoked.")
	_              = entry(Chain, "signer-search", "The chain has too many candidate paths to a root.")
	signerEndsSoon = entry(Chain, "signer-ends-soon", "The signing chain or a staple expires within half an hour.")
	_              = entry(Chain, "staple-missing", "A certificate of the signing chain has no OCSP staple.")
	_              = entry(Chain, "staple-stale", "An OCSP staple is not valid now.")
	_              = entry(Chain, "staple-untrusted", "An OCSP staple is not signed by the certificate's issuer.")
	_              = entry(Chain, "imds-unreachable", "The metadata service answers, but not the requests for keys or signer in time.")
	_              = entry(Chain, "imds-error", "The metadata service answers a request for keys or signer with an error.")

	_ = entry(Records, "bad-signature", "A record's signature does not verify.")
	_ = entry(Records, "expired", "The pushed key has expired.")
	_ = entry(Records, "lifetime-too-long", "A record has a longer lifetime than a pushed key may have.")
	_ = entry(Records, "wrong-instance", "A record was signed for another instance.")
	_ = entry(Records, "malformed", "A record is not exactly one public key.")
	_ = entry(Records, "key-type", "The key's type is not allowed.")
	_ = entry(Records, "key-too-short", "The key is too short.")
	_ = entry(Records, "caller-not-mapped", "No [[users.map]] row has the caller and the user.")
	_ = entry(Records, "key-type-refused", "sshd refuses keys of the type that was pushed.")
	_ = entry(Records, "key-size-refused", "sshd refuses RSA keys of the size that was pushed.")
	_ = entry(Records, "key-revoked", "The pushed key is on sshd's list of revoked keys.")

	cacheMissing       = entry(Cache, "cache-missing", "The cache directory does not exist.")
	cacheNotADirectory = entry(Cache, "cache-not-a-directory", "The cache is not a directory.")
	cacheOwner         = entry(Cache, "cache-owner", "The cache directory is not owned by the command's user.")
	cacheMode          = entry(Cache, "cache-mode", "The cache directory is accessible to others, or not to its owner.")
	cacheFull          = entry(Cache, "cache-full", "The cache directory's file system is full.")
	cacheReadOnly      = entry(Cache, "cache-read-only", "The cache directory is on a read-only file system.")
	cacheOnDisk        = entry(Cache, "cache-on-disk", "The cache directory is not on tmpfs.")
	cacheUnusable      = entry(Cache, "cache-unusable", "The cache directory cannot be used for another reason, given in the text.")

	journalMissing    = entry(Journal, "journal-missing", "There is neither journald nor syslog.")
	journalDead       = entry(Journal, "journal-dead", "journald does not listen on its socket.")
	journalDenied     = entry(Journal, "journal-denied", "The command's user may not write to journald.")
	journalStuck      = entry(Journal, "journal-stuck", "journald hangs.")
	journalSuppressed = entry(Journal, "journal-suppressed", "journald suppressed messages of sshd's unit, which include the agent's.")
	journalNotKept    = entry(Journal, "journal-not-kept", "A message that the command's user wrote is not in the journal.")
	journalDamaged    = entry(Journal, "journal-damaged", "A journal file is damaged; its entries are missing.")
	_                 = entry(Journal, "journal-storage", "journald stores nothing.")
	_                 = entry(Journal, "journal-level", "journald does not store messages of priority info, such as logins and provided keys.")
	_                 = entry(Journal, "dev-log", "/dev/log does not lead to journald.")
	_                 = entry(Journal, "sshd-log-level", "sshd's LogLevel hides logins.")
	_                 = entry(Journal, "sshd-log-output", "sshd logs to a file or to standard error, not to the journal.")
	_                 = entry(Journal, "unit-log-level", "LogLevelMax= of sshd's unit drops messages about logins and keys.")
	_                 = entry(Journal, "unit-log-namespace", "sshd's unit logs to its own journal namespace.")
	_                 = entry(Journal, "unit-log-filter", "LogFilterPatterns= of sshd's unit drops some messages.")

	sessionsAccount    = entry(Journal, "sessions-account", "The account of eic-sessions.service does not exist, so sessions are not recorded.")
	sessionsState      = entry(Journal, "sessions-state", "The state of eic-sessions.service is damaged or not accessible, so sessions are not recorded.")
	sessionsNotRunning = entry(Journal, "sessions-not-running", "eic-sessions.service is enabled but does not run, so sessions are not recorded.")
	sessionsBehind     = entry(Journal, "sessions-behind", "eic-sessions.service runs but does not read the journal, so sessions are not recorded.")

	selinuxDenied        = entry(SELinux, "selinux-denied", "SELinux has denied the agent access within the last hour.")
	selinuxPolicyMissing = entry(SELinux, "selinux-policy-missing", "SELinux is enforcing without the agent's policy.")
	selinuxLabel         = entry(SELinux, "selinux-label", "The command or its cache does not have the type that the agent's policy expects.")

	versionMismatch = entry(Programs, "version-mismatch", "A program's version differs from eicctl's.")
	packageModified = entry(Programs, "package-modified", "Files of the agent's package are missing or modified.")

	serialProgramMissing = entry(SerialPorts, "serial-program-missing", "A serial port's getty runs eic-serial-getty, which does not exist: the port is dead.")
	serialDropIn         = entry(SerialPorts, "serial-drop-in", "The drop-in that eicctl serial enable wrote is missing or modified.")
	serialOverridden     = entry(SerialPorts, "serial-overridden", "The drop-in that locks the serial port has no effect: systemd starts another command.")
	serialUndecided      = entry(SerialPorts, "serial-undecided", "[serial] when_unreachable is not set.")
	serialUserDenied     = entry(SerialPorts, "serial-user-denied", "[users] denies the keys that open the serial port.")
)
