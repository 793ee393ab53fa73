// Package osuser knows the names of OS users for which EC2 Instance Connect takes
// keys.
package osuser

// maxLen is the length in bytes of the longest user name that the API carries.
const maxLen = 32

// Valid reports whether the API could carry a key for the user name: whether it
// matches InstanceOSUser of SendSSHPublicKey (service model
// ec2-instance-connect 2018-04-02),
//
//	(^[A-Za-z_][A-Za-z0-9\@\._-]{0,30}[A-Za-z0-9\$_-]?$)|(^(?=.{2,32}$)[0-9]{1,32}[A-Za-z\@\._-][A-Za-z0-9\@\._-]*[A-Za-z0-9\$_-]?$)
//
// Such a name has no slash and does not begin with a dot, so it is one element
// of a URL path.
func Valid(name string) bool {
	if name == "" || len(name) > maxLen {
		return false
	}
	first, last := name[0], len(name)-1
	if !isLetter(first) && first != '_' && !isDigit(first) {
		return false
	}
	onlyDigits := true
	for i, c := range []byte(name) {
		switch {
		case isDigit(c):
			continue
		case isLetter(c), c == '_', c == '-', c == '@', c == '.':
		case c == '$' && i == last && i > 0 && !onlyDigits:
		default:
			return false
		}
		onlyDigits = false
	}
	// The pattern's first branch takes the 32nd byte by its last, narrower
	// element only.
	if len(name) == maxLen && !isDigit(first) && (name[last] == '@' || name[last] == '.') {
		return false
	}
	return !onlyDigits
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
