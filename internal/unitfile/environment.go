package unitfile

import "strings"

// Environment returns what the text of an environment file sets, as systemd reads it for
// EnvironmentFile= (systemd.exec(5)): quotes begin where a value or a further part of it
// begins, a backslash joins a line to the next, # and ; begin a comment at the start of a
// line only. A name that is none is passed over. Before systemd 254 a backslash continued
// comments too.
func Environment(text string) map[string]string {
	set := make(map[string]string)
	for rest := text; rest != ""; {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if rest == "" {
			break
		}
		if rest[0] == '#' || rest[0] == ';' {
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		end := strings.IndexAny(rest, "=\n")
		if end < 0 || rest[end] == '\n' {
			rest = rest[max(end, 0):]
			if end < 0 {
				break
			}
			continue
		}
		name := strings.TrimRight(rest[:end], " \t\r")
		var value string
		value, rest = environmentValue(rest[end+1:])
		if isVariable(name) {
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
