package sshlog

// Advice that several messages share.
const (
	adviceKeyType  = "push a key of a type that sshd takes, or add the type to PubkeyAcceptedAlgorithms in sshd's configuration; eicctl doctor USER says which line sets it"
	adviceUser     = "sshd asks nobody for keys of this user: see the line of sshd's configuration that the message names"
	adviceOnly     = "have the client offer this key alone: ssh -o IdentitiesOnly=yes -i KEY"
	adviceOptions  = "see [keys] options in the agent's configuration, and this host's clock: sshd refused the key by the options on its line"
	adviceFrom     = "see [keys] options in the agent's configuration: its from= does not have this address"
	adviceAccount  = "see the account: PAM's account stage refused it (expired, nologin, access.conf)"
	advicePenalty  = "wait until the penalty has ended, and see PerSourcePenalties in sshd's configuration: PerSourcePenaltyExemptList spares addresses that many clients share"
	adviceStartups = "too many logins were under way: see MaxStartups and PerSourceMaxStartups in sshd's configuration"
	adviceDropped  = "sshd dropped the connection for the reason that the message gives"
	adviceTouch    = "touch the security key when it asks, and see PubkeyAuthOptions in sshd's configuration"
	adviceCommand  = "run eicctl doctor: sshd did not use the answer of the AuthorizedKeysCommand"
	adviceHome     = "correct owner and mode of what the message names: chown root, chmod go-w"
	adviceSession  = "see the message: the client was in, and its session could not begin"
)

// permittedHost is all of a message whose end differs between versions.
const permittedHost = "%s: Authentication tried for %.100s with correct key but not from a permitted host (host=%.200s, ip=%.200s, required=%.200s)."

// activating begins a message that names its function.
const activating = "srclimit_penalise: %s: activating %s penalty of "

// table has the known messages; the first entry that matches is used. The formats stand
// in sshd's binaries, which a test checks.
var table = []*entry{
	// The client chooses the end of this message, which may look like any of those
	// below: it must come first.
	{format: "Received disconnect from %s port %d:%u: %.400s", meaning: Other, fields: "address port"},
	{format: "Invalid user %.100s from %.100s port %d", meaning: UserRefused, fields: "user address port", advice: "the user does not exist on this host"},
	{format: "Connection from %s port %d on %s port %d%s%s%s", meaning: Connected, fields: "address port"},
	{format: "Connection from %.100s port %d with IP opts: %.800s", meaning: Dropped, fields: "address port", advice: "sshd refuses packets with IP options: look for what adds them"},

	// auth2-pubkey.c, before anybody is asked whether the user has the key.
	{format: "signature algorithm %s not in PubkeyAcceptedAlgorithms", meaning: KeyRefused, fields: "type", advice: adviceKeyType},
	{format: "key type %s not in PubkeyAcceptedKeyTypes", meaning: KeyRefused, fields: "type", advice: adviceKeyType},
	{format: "key algorithm differs from signature algorithm %s and is not in PubkeyAcceptedAlgorithms", meaning: KeyRefused, fields: "type", advice: adviceKeyType},
	{format: "unsupported public key algorithm: %s", meaning: KeyRefused, fields: "type", advice: adviceKeyType},
	{format: "refusing %s key: Invalid key length", source: "refusing %s key|Invalid key length", meaning: KeyRefused, fields: "type", advice: "push a longer RSA key, or lower RequiredRSASize in sshd's configuration"},
	{format: "refusing previously-used %s key", meaning: KeyRefused, fields: "type", advice: "AuthenticationMethods asks for two keys: the client needs a second one"},
	{format: "Refusing RSA key because client uses unsafe signature scheme", meaning: KeyRefused, advice: "use a newer client"},
	{format: "Refusing RSA key because peer uses unsafe signature format", meaning: KeyRefused, advice: "use a newer client"},
	{format: "cannot decode key: %s", meaning: KeyRefused, fields: "type", advice: "the client sends a key that sshd cannot read: use a newer client"},
	{format: "certificate signature algorithm %s: %s", meaning: KeyRefused, fields: "type", advice: "see CASignatureAlgorithms in sshd's configuration"},
	{format: "Authentication key %s %s revoked by file %s", meaning: KeyRefused, fields: "type fingerprint", advice: "the key is revoked: push another"},
	{format: "WARNING: revoked key for %s attempted authentication", meaning: KeyRefused, advice: "the key is revoked: push another"},
	{format: "Error checking authentication key %s %s in revoked keys file %s: %s", meaning: KeyRefused, fields: "type fingerprint", advice: "repair the file of RevokedKeys: sshd refuses every key while it cannot read it"},
	{format: "Error checking authentication key %s %s in revoked keys file %s", meaning: KeyRefused, fields: "type fingerprint", advice: "repair the file of RevokedKeys: sshd refuses every key while it cannot read it"},

	// auth.c, of the user.
	{format: "User %.100s from %.100s not allowed because listed in DenyUsers", meaning: UserRefused, fields: "user", advice: adviceUser},
	{format: "User %.100s from %.100s not allowed because not listed in AllowUsers", meaning: UserRefused, fields: "user", advice: adviceUser},
	{format: "User %.100s from %.100s not allowed because not in any group", meaning: UserRefused, fields: "user", advice: adviceUser},
	{format: "User %.100s from %.100s not allowed because a group is listed in DenyGroups", meaning: UserRefused, fields: "user", advice: adviceUser},
	{format: "User %.100s from %.100s not allowed because none of user's groups are listed in AllowGroups", meaning: UserRefused, fields: "user", advice: adviceUser},
	{format: "User %.100s not allowed because account is locked", meaning: UserRefused, fields: "user", advice: "the account is locked and sshd does without PAM: usermod -p '*' USER keeps passwords shut and lets keys in"},
	{format: "User %.100s not allowed because shell %.100s does not exist", meaning: UserRefused, fields: "user", advice: "give the account a shell that exists: chsh"},
	{format: "User %.100s not allowed because shell %.100s is not executable", meaning: UserRefused, fields: "user", advice: "give the account a shell that can be run: chsh"},
	{format: "User %.100s not allowed because %s exists", meaning: UserRefused, fields: "user", advice: "remove the nologin file once logins are wanted again"},
	{format: "Change of username or service not allowed: (%s,%s) -> (%s,%s)", meaning: GaveUp, advice: "use a client that keeps to one user name"},

	// The command.
	{format: "AuthorizedKeysCommand %s failed, status %d", source: "%s %s failed, status %d|AuthorizedKeysCommand", meaning: CommandFailed, advice: adviceCommand},
	{format: "AuthorizedKeysCommand %s exited on signal %d", source: "%s %s exited on signal %d|AuthorizedKeysCommand", meaning: CommandFailed, advice: adviceCommand},
	{format: `Unsafe AuthorizedKeysCommand "%s": %s`, source: `Unsafe %s "%s": %s|AuthorizedKeysCommand`, meaning: CommandFailed, advice: adviceCommand},
	{format: `AuthorizedKeysCommandUser "%s" not found: %s`, meaning: CommandFailed, advice: adviceCommand},
	{format: `AuthorizedKeysCommand "%s" contains invalid quotes`, meaning: CommandFailed, advice: adviceCommand},
	{format: `AuthorizedKeysCommand "%s" yielded no arguments`, meaning: CommandFailed, advice: adviceCommand},
	{format: "No user for AuthorizedKeysCommand specified, skipping", meaning: CommandFailed, advice: adviceCommand},

	// The key was found.
	{format: "%s: Authentication tried for %.100s with correct key but not from a permitted host (%s", source: permittedHost, meaning: OptionsRefused, fields: "- user", advice: adviceFrom},
	{format: "Authentication tried for %.100s with correct key but not from a permitted host (%s", source: permittedHost, meaning: OptionsRefused, fields: "user", advice: adviceFrom}, // before OpenSSH 7.7
	{format: "Refused by key options", meaning: OptionsRefused, advice: adviceOptions},
	{format: "Authentication refused: %s", meaning: Other, advice: adviceHome},
	{format: "bad ownership or modes for file %s", meaning: Other, advice: adviceHome},
	{format: "bad ownership or modes for directory %s", meaning: Other, advice: adviceHome},
	{format: "public key %s signature for %s%s from %.128s port %d rejected: user presence (authenticator touch) requirement not met ", meaning: OptionsRefused, fields: "- - user address port", advice: adviceTouch},
	{format: "public key %s signature for %s%s from %.128s port %d rejected: user verification requirement not met ", meaning: OptionsRefused, fields: "- - user address port", advice: adviceTouch},
	{format: "ROOT LOGIN REFUSED FROM %.200s port %d", meaning: AccountRefused, fields: "address port", advice: "push the key for another user: PermitRootLogin in sshd's configuration keeps root out"},
	{format: "Access denied for user %s by PAM account configuration", meaning: AccountRefused, fields: "user", advice: adviceAccount},
	{format: "account %s has expired (account expired)", module: "pam_unix", meaning: AccountRefused, fields: "user", advice: "the account has expired: chage -E -1 USER"},
	{format: "account %s has expired (failed to change password)", module: "pam_unix", meaning: AccountRefused, fields: "user", advice: adviceAccount},
	{format: "expired password for user %s (root enforced)", module: "pam_unix", meaning: Other, advice: "the password has expired: passwd USER, or chage -M -1 USER"},
	{format: "expired password for user %s (password aged)", module: "pam_unix", meaning: Other, advice: "the password has expired: passwd USER, or chage -M -1 USER"},
	{format: "User %.100s password has expired (password aged)", meaning: Other, advice: "the password has expired: passwd USER, or chage -M -1 USER"},
	{format: "access denied for user `%s' from `%s'", module: "pam_access", meaning: AccountRefused, fields: "user", advice: "see /etc/security/access.conf: it does not let this user in from there"},
	{format: "PAM: %s for %s%.100s from %.100s", meaning: Failed, fields: "- - user address"},

	// The connection ends before a login.
	{format: "maximum authentication attempts exceeded for %s%.100s from %.200s port %d ssh2", meaning: GaveUp, fields: "- user address port", advice: adviceOnly},
	{format: "Disconnecting %s: Too many authentication failures", source: "Disconnecting %s: %.100s|Too many authentication failures", meaning: GaveUp, fields: "remote", advice: adviceOnly},
	{format: "Disconnecting %s: %.100s", meaning: GaveUp, fields: "remote"},
	{format: "Connection closed by %s", meaning: GaveUp, fields: "remote"},
	{format: "Connection reset by %s", meaning: GaveUp, fields: "remote"},
	{format: "Connection from %s timed out", source: "Connection %s %s timed out", meaning: GaveUp, fields: "remote"},
	{format: "Disconnected from %s", meaning: GaveUp, fields: "remote"},
	{format: "Timeout, client not responding from %s", meaning: GaveUp, fields: "remote", advice: "the client's network went away: see ClientAliveInterval in sshd's configuration"},
	{format: "Timeout before authentication for %s, pid = %ld%s", meaning: GaveUp, fields: "address pid", advice: "the client took longer than LoginGraceTime: run it with ssh -v"},
	{format: "Timeout before authentication for %s port %d", meaning: GaveUp, fields: "address port", advice: "the client took longer than LoginGraceTime: run it with ssh -v"},
	{format: "Unable to negotiate with %s: %s. Their offer: %s", meaning: GaveUp, fields: "remote", advice: "client and sshd have no algorithm in common: use a newer client"},
	{format: "client sent invalid protocol identifier \"%.256s\"", meaning: GaveUp, advice: "something that is no SSH client connected"},
	{format: "%s: Connection closed by remote host", meaning: Other},

	// The listener.
	{format: "drop connection #%d from [%s]:%d on [%s]:%d past MaxStartups", meaning: Dropped, fields: "startups address port", advice: adviceStartups, limit: LimitStartups},
	{format: "drop connection #%d from [%s]:%d on [%s]:%d %s", meaning: Dropped, fields: "startups address port - - cause", advice: adviceDropped},
	{format: "beginning MaxStartups throttling", meaning: Dropped, advice: adviceStartups, limit: LimitStartups},
	{format: "in MaxStartups throttling for %s, %u connections dropped", meaning: Other, advice: adviceStartups, limit: LimitStartups},
	{format: "exited MaxStartups throttling after %s, %u connections dropped", meaning: Other},
	{format: "%s logging rate-limited: additional %u connections dropped", meaning: Other, fields: "cause"},
	// srclimit.c: the first is "ipv4: new 10.0.0.1/32 active penalty", the second
	// "10.0.0.1/32: activating ipv4 penalty" behind the name of the function.
	{format: "%s: new %s %s penalty of %d seconds for %s", meaning: Other, fields: "- client - seconds", advice: advicePenalty, limit: LimitPenalties},
	{format: "%s: new %s %s penalty of %.3f seconds for %s", meaning: Other, fields: "- client - seconds", advice: advicePenalty, limit: LimitPenalties},
	{format: activating + "%lld seconds for %s", source: "%s: activating %s penalty of %lld seconds for %s", meaning: Other, fields: "client - seconds", advice: advicePenalty, limit: LimitPenalties},
	{format: activating + "%.3f seconds for %s", source: "%s: activating %s penalty of %.3f seconds for %s", meaning: Other, fields: "client - seconds", advice: advicePenalty, limit: LimitPenalties},
	{format: "preauth child %ld for %s exited after unsuccessful auth attempt%s", meaning: GaveUp, fields: "pid address"},
	{format: "preauth child %ld for %s exited after auth attempt by invalid user%s", meaning: GaveUp, fields: "pid address"},
	{format: "Session process %ld unpriv child crash for %s%s", meaning: GaveUp, fields: "pid address", advice: "sshd's own process crashed: look for its core, and update openssh-server"},

	// The session.
	{format: "Accepted key %s %s found at %s", meaning: Other},
	{format: "User child is on pid %ld", meaning: Opened, fields: "pid"},
	{format: "Starting session: %s%s%s for %s from %.200s port %d id %d", meaning: Opened, fields: "- - - user address port"},
	{format: "Close session: user %s from %.200s port %d id %d", meaning: Closed, fields: "user address port"},
	// Linux-PAM before 1.4 leaves the first uid out.
	{format: "session opened for user %s by %s(uid=%lu)", source: "session opened for user %s(uid=%s) by %s(uid=%lu)", module: "pam_unix", meaning: Opened, fields: "user"},
	{format: "session closed for user %s", module: "pam_unix", meaning: Closed, fields: "user"},
	{format: "PAM: pam_open_session(): %s", meaning: SessionFailed, advice: "see the PAM modules of the session stage: one of them failed"},
	{format: "PAM: pam_setcred(): %s", meaning: SessionFailed, advice: "see the PAM modules of the auth stage: one of them failed to set up the session"},
	{format: "PAM session not opened, exiting", meaning: SessionFailed, advice: "see the PAM modules of the session stage: one of them failed"},
	{format: "bad ownership or modes for chroot directory %s\"%s\"", meaning: SessionFailed, advice: "correct owner and mode of the directory of ChrootDirectory: it and those above it belong to root and nobody else can write them"},
	{format: "chroot path %s\"%s\" is not a directory", meaning: SessionFailed, advice: adviceSession},
	{format: "chroot(\"%s\"): %s", meaning: SessionFailed, advice: adviceSession},
	{format: "Unable to chdir to chroot path \"%s\": %s", meaning: SessionFailed, advice: adviceSession},
}
