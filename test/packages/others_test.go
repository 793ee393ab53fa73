package packages

import (
	"os/exec"
	"strings"
	"testing"
)

// Nix evaluates the expression, with what callPackage would give it.
func TestNix(t *testing.T) {
	t.Parallel()
	const stub = `let p = import ./packaging/nix/default.nix {
		lib = { fakeHash = "x"; licenses = { asl20 = 1; bsd3 = 2; mit = 3; }; };
		buildGoModule = x: x; fetchurl = x: x.url; version = "1.2.3"; hash = "y";
	}; in builtins.deepSeq p "${p.pname} ${p.src} ${p.buildPhase}"`
	cmd := exec.Command("nix-instantiate", "--eval", "--store", "dummy://", "--expr", stub)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "download/v1.2.3/eic-agent-1.2.3.tar.gz") || !strings.Contains(string(out), "make VERSION=1.2.3") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The recipes for Arch and Alpine are shell that sets what makepkg and abuild ask for, and their
// functions and files are there.
func TestRecipes(t *testing.T) {
	t.Parallel()
	shell(t, "../../packaging/alpine", `
		for file in APKBUILD eic-agent.initd eic-agent.pre-install eic-agent.pre-deinstall; do sh -n $file; done
		. ./APKBUILD
		[ "$pkgname" = eic-agent ] && [ -n "$pkgver$pkgrel$pkgdesc$url$arch$license" ]
		for function in build package _emulator; do [ "$(type -t $function)" = function ]; done
		for file in $install eic-agent.initd; do [ -x "$file" ]; done`)
	shell(t, "../../packaging/arch", `
		. ./PKGBUILD
		[ "${pkgname[*]}" = "eic-agent eic-emulator" ] && [ -n "$pkgver$pkgrel$url${arch[*]}${license[*]}" ]
		for function in build package_eic-agent package_eic-emulator; do [ "$(type -t $function)" = function ]; done
		. ./eic-agent.install
		[ "$(type -t pre_remove)" = function ]`)
}
