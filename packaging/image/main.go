// Command image writes an OCI image of eic-emulator, as a tar archive that
// `podman load` and `docker load` take: from scratch, not as root, with one
// manifest for each architecture. The same programs and time give the same bytes.
//
//	image -time UNIX -version VERSION OUTPUT ARCH=PROGRAM...
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/internal/atomicfile"
)

const (
	user    = "65532:65532"
	program = "eic-emulator"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	seconds := flags.Int64("time", 0, "time of everything in the image")
	version := flags.String("version", "", "version in the labels")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("an output and at least one ARCH=PROGRAM are needed")
	}
	i := image{made: time.Unix(*seconds, 0).UTC(), version: *version, blobs: make(map[string][]byte)}
	for _, text := range flags.Args()[1:] {
		arch, path, _ := strings.Cut(text, "=")
		binary, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := i.add(arch, binary); err != nil {
			return err
		}
	}
	archive, err := i.archive()
	if err != nil {
		return err
	}
	return atomicfile.Write(flags.Arg(0), ".image-*", archive, func(f *os.File) error { return f.Chmod(0o644) })
}

type image struct {
	made      time.Time
	version   string
	blobs     map[string][]byte // by SHA-256
	manifests []descriptor
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func (i *image) put(mediaType string, blob []byte) descriptor {
	sum := fmt.Sprintf("%x", sha256.Sum256(blob))
	i.blobs[sum] = blob
	return descriptor{MediaType: mediaType, Digest: "sha256:" + sum, Size: len(blob)}
}

// add adds the image of one architecture.
func (i *image) add(arch string, binary []byte) error {
	layer, err := writeTar(i.made, []entry{{name: program, mode: 0o755, data: binary}, {name: "tmp/", mode: 0o1777}})
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := zip.Write(layer); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"created": i.made.Format(time.RFC3339), "architecture": arch, "os": "linux",
		"config": map[string]any{
			"User": user, "Entrypoint": []string{"/" + program}, "Cmd": []string{"serve"}, "WorkingDir": "/tmp",
			"Env":          []string{"EIC_EMULATOR_API=0.0.0.0:4566", "EIC_EMULATOR_IMDS=0.0.0.0:1338", "EIC_EMULATOR_ALLOW_REMOTE=true"},
			"ExposedPorts": map[string]any{"4566/tcp": struct{}{}, "1338/tcp": struct{}{}, "2200/tcp": struct{}{}},
			"Healthcheck":  map[string]any{"Test": []string{"CMD", "/" + program, "ready"}, "Interval": 2 * time.Second, "Timeout": 5 * time.Second},
			"Labels":       map[string]string{"org.opencontainers.image.title": program, "org.opencontainers.image.version": i.version},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": i.put("application/vnd.oci.image.config.v1+json", config),
		"layers": []descriptor{i.put("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes())},
	})
	if err != nil {
		return err
	}
	d := i.put("application/vnd.oci.image.manifest.v1+json", manifest)
	d.Platform = map[string]string{"architecture": arch, "os": "linux"}
	i.manifests = append(i.manifests, d)
	return nil
}

// tagOf returns the tag of a version. A tag cannot have the + of a version between
// releases.
func tagOf(version string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("_.-", r) || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, version)
}

// archive is an OCI image layout with an index of all architectures.
func (i *image) archive() ([]byte, error) {
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": i.manifests})
	if err != nil {
		return nil, err
	}
	all := i.put("application/vnd.oci.image.index.v1+json", index)
	name := program + ":" + tagOf(i.version)
	all.Annotations = map[string]string{"org.opencontainers.image.ref.name": name, "io.containerd.image.name": "localhost/" + name}
	top, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{all}})
	if err != nil {
		return nil, err
	}
	entries := []entry{
		{name: "oci-layout", mode: 0o644, data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {name: "index.json", mode: 0o644, data: top},
		{name: "blobs/", mode: 0o755}, {name: "blobs/sha256/", mode: 0o755},
	}
	for sum, blob := range i.blobs {
		entries = append(entries, entry{name: "blobs/sha256/" + sum, mode: 0o644, data: blob})
	}
	sort.SliceStable(entries[4:], func(a, b int) bool { return entries[4+a].name < entries[4+b].name })
	return writeTar(i.made, entries)
}

type entry struct {
	name string // a folder ends in a slash
	mode int64
	data []byte
}

func writeTar(made time.Time, entries []entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: made, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
