# make          build the programs into bin/
# make install  install them: DESTDIR, PREFIX and more in packaging/install; install-agent, install-emulator, install-selinux; uninstall
# make dist     the source with all modules, eic-agent-VERSION.tar.gz, into dist/
# make demo     see a pushed key log somebody in (as root; needs nothing else)
# make demo-serial  the same for a serial console
# make demo-fleet  the queries of docs/fleet.md, in VictoriaLogs, beside eicctl audit: with journal-upload, an OpenTelemetry Collector and DuckDB (all built from Go modules)
# make test     everything: lint, unit, vectors, command, end-to-end, a smoke run of each fuzz target (CONTRIBUTING.md)
# make test-releases  the package on Debian releases, with their own systemd; RELEASES="bookworm trixie" chooses
# make test-fresh  make demo and make test as a newcomer, in new roots of Debian; RELEASES="trixie" chooses
# make test-clients  eic-emulator with the aws commands of Debian 12 and 13, cloud-init and the SDK for JavaScript (npm)
# make test-odd the tests under the conditions of test/odd; CONDITIONS="nohup+umask077 stale" PACKAGES=./internal/... choose
# make test-vm  the packages on a virtual EC2 instance (docs/virtual-instance.md); VMFLAGS=-selinux: under SELinux, -release=trixie: Debian 13
# make bench    measure, and write docs/performance.md; OTHER="COMMAND ARG..." beside it
# make packages build deb and rpm for amd64 and arm64 into dist/ (VERSION=1.2.3 names them)
# make image    build an OCI image of eic-emulator for both into dist/ (VERSION=1.2.3 names it)
# make release  with VERSION=1.2.3: packages, checksums, bills of materials, notes into dist/

# Go keeps its caches there.
ifeq ($(HOME),)
export HOME := $(shell getent passwd "$$(id -u)" | cut -d: -f6)
endif

GO       ?= go
# A number of executions: a duration fails now and then (golang.org/issue/75804).
FUZZTIME ?= 10000x
# Nothing here speaks HTTP/2, and its tables are set up at every start.
TAGS      = -tags nethttpomithttp2
TOOL      = $(GO) tool -modfile=tools.mod
SCRIPTS   = .ci/run test/clients/testdata/*.sh test/prerequisites test/fresh test/newcomer test/odd test/fuzz test/sshd/systemctl test/vm/machine/*.sh packaging/build packaging/build-* packaging/dist packaging/install packaging/release packaging/version packaging/deb/*.p* packaging/deb/repository packaging/deb/tests/login packaging/rpm/*.p* packaging/rpm/*.sh packaging/tarball/install.sh packaging/provision/install.sh packaging/alpine/eic-agent.pre-* packaging/rpm/repository

# A linter that an ordinary user cannot install is left out.
LINT = lint() { if command -v "$$1" >/dev/null || [ "$$(id -u)" = 0 ]; then "$$@"; else echo "make lint: left out: $$1 is missing"; fi; }; lint $(1)

# The version is linked in: an unpacked archive has no repository that could be asked.
# VERSION=1.2.3 names it. What would change the programs from outside is set here.
BUILD = CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= $(GO) build $(TAGS) -trimpath -buildvcs=false \
	-ldflags="-s -w -X github.com/eic-agent/eic-agent/internal/version.linked=$${VERSION:-$$(packaging/version)}"
# What runs here, whatever it is that is built.
NATIVE = CGO_ENABLED=0 GOOS= GOARCH= $(GO) build -trimpath -buildvcs=false

# Beside the programs what a package has of them: completions and licenses.
build:
	@mkdir -p bin/share
	$(BUILD) -o bin/ ./cmd/...
	@$(NATIVE) -o bin/share/bom ./packaging/bom
	@GO=$(GO) bin/share/bom licenses bin/eic-authkeys bin/eic-serial-getty bin/eicctl >bin/share/eic-agent.licenses
	@GO=$(GO) bin/share/bom licenses bin/eic-emulator >bin/share/eic-emulator.licenses
	@for program in eicctl eic-emulator; do \
		run=bin/$$program; \
		[ "$$($(GO) env GOOS GOARCH)" = "$$($(GO) env GOHOSTOS GOHOSTARCH)" ] || { run=bin/share/$$program; $(NATIVE) $(TAGS) -o $$run ./cmd/$$program || exit; }; \
		for shell in bash zsh fish; do $$run completion $$shell >bin/share/$$program.$$shell || exit; done; \
	done
	@touch bin/share/built

# Only what was never built: root installs what somebody else has built.
bin/share/built:
	$(MAKE) build

INSTALL = DESTDIR='$(DESTDIR)' $(foreach v,PREFIX SYSCONFDIR BINDIR LIBDIR DATADIR UNITDIR CATALOGDIR SYSUSERSDIR TMPFILESDIR MANDIR DOCDIR \
	LICENSEDIR BASHCOMPDIR FISHCOMPDIR ZSHCOMPDIR SELINUXDIR,$(if $($v),$v='$($v)')) packaging/install

install: bin/share/built
	@$(INSTALL) agent emulator selinux

install-agent install-emulator install-selinux: bin/share/built
	@$(INSTALL) $(@:install-%=%)

uninstall:
	@UNINSTALL=1 $(INSTALL) agent emulator selinux

dist:
	@version=$${VERSION:-$$(packaging/version)} && GO=$(GO) packaging/dist "$$version" dist && echo "dist/eic-agent-$$version.tar.gz"

demo:
	@test/prerequisites demo
	@CGO_ENABLED=0 $(GO) build -o bin/demo ./test/demo
	@bin/demo

demo-serial:
	@test/prerequisites demo
	@CGO_ENABLED=0 $(GO) build -o bin/demo-serial ./test/demo/serial
	@bin/demo-serial

demo-fleet:
	@test/prerequisites demo-fleet
	@CGO_ENABLED=0 $(GO) build -modfile=fleet.mod -o bin/fleet/ github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
	@CGO_ENABLED=0 $(GO) build -modfile=fleet.mod -o bin/fleet/collector test/fleet/collector/main.go
	@CGO_ENABLED=1 $(GO) build -modfile=fleet.mod -o bin/fleet/duckdb test/fleet/duckdb/main.go
	@CGO_ENABLED=0 $(GO) build -o bin/fleet/ ./cmd/eicctl
	@CGO_ENABLED=0 $(GO) build -o bin/fleet/demo ./test/fleet
	@bin/fleet/demo

# As root nothing may be skipped: a missing program fails the test that needs it.
test: lint
	@test/prerequisites test
	@CGO_ENABLED=0 $(GO) build -o bin/suite ./test/suite
	@GO=$(GO) bin/suite -fuzz $(FUZZTIME)

test-releases:
	@test/prerequisites releases $(RELEASES)
	EIC_REQUIRE=1 EIC_EACH=1 RELEASES="$(RELEASES)" $(GO) test -count=1 -v ./test/releases

test-fresh:
	@test/fresh $(RELEASES)

test-clients:
	@test/prerequisites clients
	$(GO) vet -tags clients ./test/clients
	EIC_REQUIRE=1 $(GO) test -tags clients -count=1 -timeout 1h -v ./test/clients

test-odd:
	@PACKAGES="$(PACKAGES)" test/odd $(CONDITIONS)

test-vm:
	@test/prerequisites test-vm
	@CGO_ENABLED=0 $(GO) build -o bin/vm ./test/vm
	@bin/vm $(VMFLAGS)

lint:
	@test/prerequisites lint
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) mod tidy -diff
	@$(call LINT,mandoc) -Tlint -Wwarning man/*.[1-8]
	@$(call LINT,shellcheck) $(SCRIPTS)

# Asks a database on the Internet.
vuln:
	$(TOOL) govulncheck ./...

bench:
	@mkdir -p docs
	@test/prerequisites bench
	@CGO_ENABLED=0 $(GO) build -o bin/bench ./test/bench
	bin/bench $(if $(OTHER),-other "$(OTHER)") > docs/performance.md.new
	mv docs/performance.md.new docs/performance.md

packages:
	@version=$${VERSION:-$$(packaging/version)} && GO=$(GO) packaging/build "$$version" dist

release:
	@GO=$(GO) packaging/release "$(VERSION)"

# The same source, version and Go give the same bytes.
image:
	@version=$${VERSION:-$$(packaging/version)} && for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOFLAGS=-buildvcs=false $(GO) build -trimpath -ldflags="-s -w -X $$($(GO) list -m)/internal/version.linked=$$version" -o dist/image/$$arch/eic-emulator ./cmd/eic-emulator || exit; \
	done && $(GO) run ./packaging/image -time $${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} -version "$$version" "dist/eic-emulator-$$version.oci.tar" \
		amd64=dist/image/amd64/eic-emulator arm64=dist/image/arm64/eic-emulator && rm -rf dist/image && echo "dist/eic-emulator-$$version.oci.tar"

clean:
	rm -rf bin dist

.PHONY: build install install-agent install-emulator install-selinux uninstall dist demo demo-serial demo-fleet test test-releases test-fresh test-clients test-odd test-vm lint vuln bench packages image release clean
