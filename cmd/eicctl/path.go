package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// rootUsage is that of --root, which means the same to every command that has it.
const rootUsage = "work on the system in this `directory`, such as a mounted image"

// rootDirectory returns the directory that --root names as an absolute path without a
// detour: "/" is the running system however it is written.
func rootDirectory(path string) (string, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(root); err != nil || !st.IsDir() {
		return "", fmt.Errorf("--root: no such directory: %s", printable(path))
	}
	return root, nil
}

// configFile returns the file that --config names as an absolute path, and "" for "".
func configFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}
