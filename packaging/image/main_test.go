package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestImage follows every digest from the index to the program.
func TestImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var made [][]byte
	for range 2 {
		out := filepath.Join(dir, "image.tar")
		args := []string{"-time", "1700000000", "-version", "1.2.3+4.gabc", out}
		for _, arch := range []string{"amd64", "arm64"} {
			path := filepath.Join(dir, arch)
			if err := os.WriteFile(path, []byte("program for "+arch), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, arch+"="+path)
		}
		if err := run(args); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, text)
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("the second image has other bytes")
	}
	files := read(t, made[0])
	follow := func(d descriptor, into any) []byte {
		t.Helper()
		blob := files["blobs/sha256/"+d.Digest[len("sha256:"):]]
		if fmt.Sprintf("sha256:%x", sha256.Sum256(blob)) != d.Digest || len(blob) != d.Size {
			t.Errorf("%s is another blob, or of another size", d.Digest)
		}
		if into != nil {
			if err := json.Unmarshal(blob, into); err != nil {
				t.Fatal(err)
			}
		}
		return blob
	}
	var top, index struct{ Manifests []descriptor }
	if err := json.Unmarshal(files["index.json"], &top); err != nil || len(top.Manifests) != 1 {
		t.Fatal(err, top)
	}
	if got := top.Manifests[0].Annotations["io.containerd.image.name"]; got != "localhost/eic-emulator:1.2.3-4.gabc" {
		t.Errorf("the image is %s, and a tag has no +", got)
	}
	follow(top.Manifests[0], &index)
	for n, arch := range []string{"amd64", "arm64"} {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		follow(index.Manifests[n], &manifest)
		var config struct {
			Architecture string
			Config       struct {
				User        string
				Entrypoint  []string
				Healthcheck struct{ Test []string }
			}
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		follow(manifest.Config, &config)
		zipped, err := gzip.NewReader(bytes.NewReader(follow(manifest.Layers[0], nil)))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(zipped)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, layer)["eic-emulator"]; string(got) != "program for "+arch || index.Manifests[n].Platform["architecture"] != arch || config.Architecture != arch {
			t.Errorf("%s: the program is %q, the configuration %+v", arch, got, config)
		}
		if config.RootFS.DiffIDs[0] != fmt.Sprintf("sha256:%x", sha256.Sum256(layer)) || config.Config.User != "65532:65532" || len(config.Config.Healthcheck.Test) != 3 {
			t.Errorf("%s: %+v", arch, config)
		}
	}
	if err := run([]string{filepath.Join(dir, "x")}); err == nil {
		t.Error("an image without a program is made")
	}
}

func read(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
