package doctor

import (
	"strings"
	"testing"
)

func loginFaults() []fault {
	usermod := func(set, back string) func(*testing.T) {
		return shell("usermod "+set+" "+user, "usermod "+back+" "+user)
	}
	return []fault{
		one("a name that the API does not take", func(*testing.T) {}, "user-name").of("1234"),
		one("no such user", func(*testing.T) {}, "user-missing").of("bob"),
		one("the host knows the user by another name", knows("Alice", user), "user-name-differs").of("Alice"),
		one("and by one with a domain", knows("alice@example.com", user), "user-name-differs").of("alice@example.com"),
		one("and by one that no key can be pushed for", knows(`EXAMPLE\\alice`, user), "user-name-differs").of(`EXAMPLE\alice`),
		one("and by one with a backslash in it", knows("Alice", `EXAMPLE\\\\alice`), "user-name-differs", "user-name").of("Alice"),
		one("the shell is not there", usermod("-s /bin/gone", "-s /bin/sh"), "user-shell"),
		one("the shell is no program", usermod("-s /etc/passwd", "-s /bin/sh"), "user-shell"),
		one("the shell is nologin", usermod("-s /usr/sbin/nologin", "-s /bin/sh"), "user-shell-nologin"),
		one("the account is locked", usermod("-p '!'", "-p '*'"), "user-locked"),
		one("the account has expired", usermod("-e 2020-01-01", "-e ''"), "user-expired"),
		one("the password has to be changed", func(t *testing.T) {
			shell("chage -d 0 "+user, "chage -d 2026-01-01 "+user)(t)
			told("UsePAM yes")(t)
		}, "user-password-expired"),
		one("the password has expired", func(t *testing.T) {
			shell("chage -d 2020-01-01 -M 90 "+user, "chage -d 2026-01-01 -M 99999 "+user)(t)
			told("UsePAM yes")(t)
		}, "user-password-expired"),
		one("the account expires today, for PAM", func(t *testing.T) {
			shell("chage -E $(date -u +%F) "+user, "chage -E -1 "+user)(t)
			told("UsePAM yes")(t)
		}, "user-expired"),
		one("pam_access has rules", func(t *testing.T) {
			command(t, "cp -a /etc/pam.d/sshd /run/host/pam.sshd; echo 'account required pam_access.so accessfile=/etc/access.site' >>/etc/pam.d/sshd", "cp -a /run/host/pam.sshd /etc/pam.d/sshd")
			write(t, "/etc/access.site", "-:"+user+":ALL\n", 0o644)
			told("UsePAM yes")(t)
		}).leaving("user-pam"),
		one("nologin", func(t *testing.T) { write(t, "/etc/nologin", "", 0o644) }, "nologin"),
		one("two nologin files", func(t *testing.T) {
			write(t, "/etc/nologin", "", 0o644)
			write(t, "/run/nologin", "", 0o644)
			told("UsePAM yes")(t)
		}, "nologin"),
		one("ChrootDirectory is not there", told("ChrootDirectory /srv/%u", "ForceCommand internal-sftp"), "chroot-directory"),
		one("ChrootDirectory belongs to the user", func(t *testing.T) {
			command(t, "install -d -o "+user+" -m 0775 /srv/box", "rm -r /srv/box")
			told("ChrootDirectory /srv/box", "ForceCommand internal-sftp")(t)
		}, "chroot-directory"),
		one("the shell is not in ChrootDirectory", func(t *testing.T) {
			command(t, "install -d /srv/box", "rm -r /srv/box")
			told("ChrootDirectory /srv/box")(t)
		}, "user-shell"),
		one("no second method that root may use", told("PermitRootLogin prohibit-password", "PasswordAuthentication yes", "AuthenticationMethods publickey,password"), "authentication-methods").of("root"),
		one("DenyUsers", told("DenyUsers bob al*"), "user-deny-users"),
		one("AllowUsers", told("AllowUsers bob", "AllowUsers carol"), "user-allow-users"),
		one("AllowUsers from somewhere", told("AllowUsers bob alice@10.0.0.0/8")).leaving("user-access"),
		one("DenyUsers from somewhere", told("DenyUsers alice@10.0.0.0/8")).leaving("user-access"),
		one("a name with a comma", func(*testing.T) {}, "user-name").of("a,b=c"),
		one("a name for the terminal", func(*testing.T) {}, "user-name").of("a\x1b[2Jb"),
		one("DenyGroups", told("DenyGroups "+user), "user-deny-groups"),
		one("AllowGroups", told("AllowGroups wheel"), "user-allow-groups"),
		one("PermitRootLogin no", told("PermitRootLogin no"), "root-login-off").of("root"),
		one("AuthenticationMethods", told("AuthenticationMethods password"), "authentication-methods"),
		one("MaxAuthTries 0", told("MaxAuthTries 0"), "max-auth-tries"),
		one("MaxSessions 0", told("MaxSessions 0"), "max-sessions"),
		one("PubkeyAcceptedAlgorithms", told("PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com"), "key-types-refused"),
		one("options that end with a day", configured("[keys]\noptions = 'restrict,expiry-time=\"20200101\"'\n"), "key-options"),
		one("options for some addresses", configured("[keys]\noptions = 'from=\"10.0.0.0/8\",restrict'\n")).leaving("user-access"),
		one("[users] deny", configured("[users]\ndeny = [\"al*\"]\n"), "user-denied"),
		one("[users] allow", configured("[users]\nallow = [\"bob\"]\n"), "user-denied"),
	}
}

// knows has getent answer for a name with the account of another, as a directory service
// does.
func knows(typed, name string) func(*testing.T) {
	return func(t *testing.T) {
		standIn(t, "getent", "#!/bin/sh\nif [ \"$3\" = '"+strings.ReplaceAll(typed, `\\`, `\`)+"' ]; then printf '"+name+":x:4242:4242::/:/bin/sh\\n'; exit; fi\nexec /usr/bin/getent \"$@\"\n")
	}
}
