package fingerprints

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
)

// HostKeyFiles returns the public host keys in a directory such as /etc/ssh.
func HostKeyFiles(dir string) ([]string, error) {
	// The directory is no pattern.
	escaped := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
	files, err := filepath.Glob(filepath.Join(escaped, "ssh_host_*_key.pub"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%.200q has no ssh_host_*_key.pub", dir)
	}
	return files, nil
}

// CheckHostName says why name cannot begin a known_hosts line.
func CheckHostName(name string) error {
	bad := func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }
	if name == "" || strings.ContainsFunc(name, bad) || strings.ContainsAny(name[:1], "#@|") {
		return fmt.Errorf("%.100q is no host name for known_hosts", name)
	}
	return nil
}

// KnownHosts returns the known_hosts line for a host of that name, below its
// fingerprints as a comment.
func (r *Report) KnownHosts(name string) string {
	var prints []string
	for _, s := range r.Fingerprints {
		if (s.Where == sshKeygen || s.Where == sshKeygenMD5) && s.Fingerprint != "" {
			prints = append(prints, s.Fingerprint)
		}
	}
	return fmt.Sprintf("# %s %d bits %s\n%s %s\n", r.Type, r.Bits, strings.Join(prints, " "), name, r.Line())
}
