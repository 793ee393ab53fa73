package emulator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
	"github.com/eic-agent/eic-agent/internal/emulator/statelog"
)

// WriteConfig writes an agent configuration that trusts this emulator and
// takes its first instance, as Listen bound it, for the machine it runs on.
// The roots go beside it, under the same name with the ending .pem. Both files
// are readable by everybody and written by rename.
func (s *Server) WriteConfig(path string) error {
	endpoint := s.IMDSURL(s.all()[0].ID)
	if endpoint == "" {
		return errors.New("the metadata service is not listening, so its port is unknown")
	}
	return s.WriteConfigFor(path, endpoint)
}

// WriteConfigFor is WriteConfig for a metadata service at the URL endpoint.
func (s *Server) WriteConfigFor(path, endpoint string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	roots := strings.TrimSuffix(path, filepath.Ext(path)) + ".pem"
	if roots == path {
		return fmt.Errorf("%s is the name of the roots file: give the configuration another extension", path)
	}
	quoted, err := tomlString(roots)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`# Written by eic-emulator. It trusts the emulator's own root: never use it outside tests.
[instance]
attest = "imds"

[imds]
endpoint = "%s"

[trust]
roots = %s

[cache]
dir = ""
`, endpoint, quoted)
	if err := WriteFile(roots, s.RootsPEM(), 0o644); err != nil {
		return err
	}
	return WriteFile(path, []byte(config), 0o644)
}

// tomlString quotes s as a TOML basic string.
func tomlString(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%q cannot be written to a configuration", s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

// WriteFile puts a file in place, whole or not at all. When it returns, the
// file is on the disk.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	return atomicfile.Write(path, statelog.Temporary(path)+"*", data, func(f *os.File) error { return f.Chmod(mode) })
}
