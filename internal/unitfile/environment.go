package unitfile

import "strings"

// Environment returns what the text of an environment file sets, as systemd reads it for
// EnvironmentFile= (systemd.exec(5)): quotes begin where a value or a further part of it
// begins, a backslash joins a line to the next, # and ; begin a comment at the start of a
// line only. Invalid names are skipped. Before systemd 254 a backslash continued
// comments too.
func Environment(text string) map[string]string {
	set := make(map[string]string)
	for rest := text; rest != ""; {
		rest = strings.TrimLeft(rest, " \t\r\n")
		line, after, _ := strings.Cut(rest, "\n")
		name, _, ok := strings.Cut(line, "=")
		if !ok || line[0] == '#' || line[0] == ';' {
			rest = after
			continue
		}
		var value string
		value, rest = environmentValue(rest[len(name)+1:])
		if name = strings.TrimRight(name, " \t\r"); isVariable(name) {
			set[name] = value
		}
	}
	return set
}

// environmentValue reads a value up to the end of its line, and returns the rest.
func environmentValue(text string) (value, rest string) {
	var out []byte
	keep := 0 // of out, which ends with blanks that do not count
	begin := true
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\n':
			return string(out[:keep]), text[i+1:]
		case c == '\\':
			if i++; i < len(text) && text[i] != '\n' {
				out = append(out, text[i])
				keep = len(out)
			}
			begin = false
		case begin && (c == '\'' || c == '"'):
			for i++; i < len(text) && text[i] != c; i++ {
				if c == '"' && text[i] == '\\' && i+1 < len(text) {
					i++
					if text[i] == '\n' {
						continue
					}
					if !strings.ContainsRune("\"\\`$", rune(text[i])) {
						out = append(out, '\\')
					}
				}
				out = append(out, text[i])
			}
			keep = len(out)
		case c == ' ' || c == '\t' || c == '\r':
			if !begin {
				out = append(out, c)
			}
		default:
			begin = false
			out = append(out, c)
			keep = len(out)
		}
	}
	return string(out[:keep]), ""
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < '0' || c > '9' || i == 0) && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return name != ""
}
