package releases

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
	"github.com/eic-agent/eic-agent/test/pages"
	"github.com/eic-agent/eic-agent/test/release"
)

// A reader types what README.md, docs/, the manual pages and --help have for a host with
// the agent, on a host where that makes sense.
type reader struct {
	*host
	all     string              // the text of all pages
	untyped map[string][]string // commands, with the pages that have them
}

// hostCommand is how the commands begin: those for other systems are not for this host.
var hostCommand = regexp.MustCompile(`^(sudo |sudo -u eic-agent |EIC_ENABLE=1 )*(eicctl|eic-authkeys|journalctl|apt-get|mkdir|/lib/systemd/systemd-journal-remote|ssh web1) `)

func newReader(h *host) *reader {
	r := &reader{h, "", map[string][]string{}}
	for _, pattern := range []string{"README.md", "docs/*.md", "man/*.[158]", "cmd/eicctl/testdata/golden/help-*"} {
		found, err := filepath.Glob("../../" + pattern)
		if err != nil || found == nil {
			h.t.Fatalf("%s: %q, %v", pattern, found, err)
		}
		for _, page := range found {
			text, err := os.ReadFile(page)
			if err != nil {
				h.t.Fatal(err)
			}
			r.all += string(text)
			lines := pages.Literal(h.t, page)
			if strings.Contains(page, "/help-") {
				_, examples, _ := strings.Cut(string(text), "\nExamples:\n")
				examples, _, _ = strings.Cut(examples, "\n\n")
				lines = strings.Split(examples, "\n")
			}
			for _, command := range pages.Commands(lines, hostCommand) {
				r.untyped[command] = append(r.untyped[command], page)
			}
		}
	}
	return r
}

// types runs a command of the pages, which has to exit with one of these codes, and to print
// all of that.
func (r *reader) types(command string, codes []int, prints ...string) {
	r.t.Helper()
	if r.untyped[command] == nil && !strings.Contains(r.all, "`"+command+"`") {
		r.t.Errorf("no page has %s", command)
	}
	delete(r.untyped, command)
	r.shell(strings.NewReplacer("VERSION", newVersion, "FINGERPRINT", fingerprint).Replace(command), codes, prints...)
}

// shell is types for what the pages do not have.
func (r *reader) shell(command string, codes []int, prints ...string) {
	r.t.Helper()
	// apt-get asks whether to continue.
	out, err := r.Feed("y\n", "sh", "-c", "cd /root; "+command+"\ncode=$?; echo \"exit $code\"")
	if err != nil {
		r.t.Error(err)
	}
	if !slices.ContainsFunc(codes, func(code int) bool { return strings.HasSuffix(out, fmt.Sprintf("exit %d\n", code)) }) {
		r.t.Errorf("%s: want exit status %v\n%s", command, codes, out)
	}
	for _, want := range prints {
		if !regexp.MustCompile(want).MatchString(out) {
			r.t.Errorf("%s prints no %s\n%s", command, want, out)
		}
	}
}

var (
	done      = []int{0}
	no        = []int{1}
	noProblem = []int{0, 3} // whether the clock is synchronized is the machine's affair
)

// TestPages runs on the release that has what the pages want beside the agent.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, name := range chosen(t) {
		if recipe := release.Packaging(name); recipe.Suite != "" {
			followPages(newHost(t, recipe))
		}
	}
}

func followPages(h *host) {
	r := newReader(h)
	p := port{h.t, h.serialPort()}
	r.must("sh", "-c", `echo alice:secret | chpasswd
		for user in bob postgres; do useradd --create-home --password '*' $user; done
		mkdir -p /root/dist /root/.ssh /var/lib/prometheus/node-exporter
		# What takes long and is nothing of the package's.
		rm -f /var/lib/man-db/auto-update
		echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/test`)
	r.must("systemctl", "start", serialUnit)
	p.knock("login: ")
	content, err := os.ReadFile(deb(newVersion))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, dir := range []string{"/root/", "/root/dist/"} {
		h.write(dir+filepath.Base(deb(newVersion)), string(content))
	}

	r.types("apt-get install ./dist/eic-agent_*_amd64.deb", done, "Setting up eic-agent")
	r.types("apt-get install ./eic-agent_VERSION-1_amd64.deb", done, "already the newest version")
	r.types("eicctl sshd status", no, "does not run eic-authkeys")
	r.types("eicctl serial status", no, "off: the getty asks everyone for a name")
	r.trust()
	r.must("sh", "-c", "mount -t tmpfs tmpfs /media && mkdir /media/upper /media/work && mount -t overlay -o lowerdir=/,upperdir=/media/upper,workdir=/media/work overlay /mnt")
	r.types("eicctl sshd enable --root /mnt", done, "runs eic-authkeys", "not reloaded: not the running system")
	r.must("sh", "-c", "test -e /mnt/etc/ssh/sshd_config.d/05-eic-agent.conf && umount /mnt /media")
	r.types("eicctl sshd enable --migrate", done, "reloaded ssh.service")
	r.types("eicctl sshd disable", done, "does not run eic-authkeys")
	r.types("eicctl sshd enable", done, "runs eic-authkeys", "reloaded ssh.service")
	r.types("eicctl sshd enable && eicctl sshd status", done, "runs eic-authkeys")

	day := r.must("date", "+%F")
	r.logins()
	r.evidence(day)
	r.files()
	r.console(p)
	r.fleet()

	r.types("apt-get remove eic-agent", done, "Removing eic-agent")
	r.must("sh", "-c", "test -d /etc/eic-agent && id eic-agent && ! command -v eicctl && ! test -e /etc/ssh/sshd_config.d/05-eic-agent.conf")
	r.types("EIC_ENABLE=1 apt-get install -y ./eic-agent_VERSION-1_amd64.deb", done, "Setting up eic-agent")
	r.types("eicctl sshd status", done, "runs eic-authkeys")
	r.types("apt-get purge eic-agent", done, "Purging configuration files for eic-agent")
	r.must("sh", "-c", "! test -e /etc/eic-agent && ! id eic-agent")
	r.useRepository()
	r.types("apt-get update && apt-get install eic-agent", done, "Setting up eic-agent")
	r.types("eicctl sshd status", no)
	r.theirs()

	for command, pages := range r.untyped {
		r.t.Errorf("%q of %s was not typed", command, pages)
	}
}

// The key of the examples.
const (
	public      = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINohITzWz6NQDHgCdHYsQt3t+BsQLWjJiasKh09vNjsC"
	fingerprint = "SHA256:PqiDne3jtq8gOHvvFS5pep5ZjdvyeO5jVfnX7/h5u8E"
)

// logins pushes keys for alice, bob and postgres, and asks what comes of that.
func (r *reader) logins() {
	r.t.Helper()
	push := func(user, public, caller string) {
		r.t.Helper()
		if _, err := r.aws.Push(instance, user, public, caller); err != nil {
			r.t.Fatal(err)
		}
	}
	push("alice", public, emulator.DefaultCallerARN)
	r.types("eicctl keys alice", done, fingerprint, emulator.DefaultCallerARN)
	r.types("sudo -u eic-agent eicctl keys alice", []int{0, 1, 3}, fingerprint)
	r.types("sudo -u eic-agent eic-authkeys alice", done, `(?m)^expiry-time="\w+" `+regexp.QuoteMeta(public)+"$")
	r.types("eicctl doctor alice", noProblem, "no problem found")
	r.types(`eicctl doctor --json | jq -r '.findings[] | select(.status == "problem").id'`, done, `^exit 0\n$`)
	r.types("eicctl explain "+fingerprint, done, "given to sshd, outcome unknown")
	r.types("eicctl explain FINGERPRINT", done, "given to sshd, outcome unknown")
	r.types("eicctl explain --since 7d 8a1f4b2c-0000-4000-8000-000000000001", no, "no decision")

	key, _ := r.push()
	r.login(key)
	key, public2 := r.newKey()
	push("postgres", public2, "arn:aws:sts::123456789012:assumed-role/dba/alice")
	r.shell(strings.Replace(strings.Join(r.ssh(key, "id", "-un"), " "), "alice@", "postgres@", 1), done, "postgres")
	if err := r.aws.InjectFault("record-expired"); err != nil {
		r.t.Fatal(err)
	}
	_, public3 := r.newKey()
	push("bob", public3, emulator.DefaultCallerARN)
	r.shell("script --quiet --return --command 'sudo -u eic-agent eic-authkeys bob' typescript", done, "(?s)bob.*expired")
	r.aws.ClearFaults("")
	r.must("journalctl", "--sync")
}

// evidence asks the journal what happened since the day began.
func (r *reader) evidence(day string) {
	r.t.Helper()
	const provided = `eic-authkeys\[\d+\]: gave sshd the key SHA256:\S+ for user "%s", pushed by %s\n`
	r.types("journalctl -t eic-authkeys", done,
		fmt.Sprintf(provided, "alice", emulator.DefaultCallerARN), fmt.Sprintf(provided, "postgres", "arn:aws:sts::123456789012:assumed-role/dba/alice"),
		`eic-authkeys\[\d+\]: refused the key SHA256:\S+ for user "bob" \(expired\): the key expired \d+ s ago; push the key again and connect within 60 seconds; if it was just pushed, check this host's clock\n`)
	r.types("journalctl -t eic-authkeys -x", done, "Subject: sshd was given a key pushed for alice")
	r.types("journalctl EIC_USER=alice -o verbose", done, "EIC_EVENT=key-provided", "EIC_SSHD_PID=")
	const session = `arn:aws:sts::123456789012:assumed-role/dba/alice`
	r.types("eicctl audit --since today", done, "sessions")
	postgres := "postgres"
	if r.must("date", "+%F") != day {
		postgres = "" // logged in yesterday, or today
	}
	r.types("eicctl audit --since today --user postgres", done, postgres)
	r.types("eicctl audit --since 2026-11-01 --until 2026-12-01 --output csv \\\n    --caller 'arn:aws:sts::*:assumed-role/dba/*'", done, `(?m)^kind,`)
	r.types("eicctl audit --since 2026-11-01 --caller 'arn:aws:sts::*:assumed-role/dba/*' --output csv", done, `(?m)^session,.*,postgres,.*`+session)
	// The policies are the examples of eic-agent.toml(5).
	_, example, _ := strings.Cut(strings.Join(pages.Literal(r.t, "../../man/eic-agent.toml.5"), "\n"), "\n[users]\n")
	example, chain, _ := strings.Cut(example, "[chain]\n")
	r.write("/root/new.toml", "[users]\n"+example)
	r.write("/root/chain.toml", "[chain]\n"+chain+"\n")
	r.types("eicctl policy test new.toml", no, "2 would newly be refused", "user/test for alice")
	r.shell("eicctl policy test chain.toml", done, "none would change")
	r.types("eicctl metrics", done, `(?m)^eic_keys_provided_total [1-9]`, `(?m)^eic_records_refused_total{reason="expired"} 1$`)
	r.types("eicctl metrics --textfile /var/lib/prometheus/node-exporter/eic-agent.prom", done, `^exit 0`)
	r.must("grep", "^eic_sessions_open 0$", "/var/lib/prometheus/node-exporter/eic-agent.prom")
	r.types("eicctl audit enable", done)
	key, request := r.push()
	r.login(key)
	if err := release.Await("the session is recorded", func() (bool, error) {
		out, err := r.Run("journalctl", "--output=export", "EIC_EVENT=session-closed")
		return strings.Contains(out, request), err
	}); err != nil {
		r.t.Error(err)
	}
	r.must("eicctl", "audit", "disable")
}

// files looks at keys in files.
func (r *reader) files() {
	r.t.Helper()
	text, err := os.ReadFile("../../cmd/eicctl/testdata/fingerprint.txt")
	if err != nil {
		r.t.Fatal(err)
	}
	_, public, _ := strings.Cut(string(text), "\n-- rsa.pub --\n")
	public, _, _ = strings.Cut(public, "\n")
	r.write("/root/key.pub", public+"\n")
	r.must("sh", "-c", "cd /root && ssh-keygen -e -m PKCS8 -f key.pub >key.pem && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
	for _, file := range []string{"key.pub", "key.pem"} {
		r.types("eicctl fingerprint --expect 7f:7c:e3:2b:a9:80:99:21:07:75:19:58:81:66:1d:b5 "+file, done, "^yes: "+file+", shown by: EC2 console, imported pair")
	}
	r.types("eicctl fingerprint key.pub", done, "EC2 console, imported pair", "Lightsail", "ssh-keygen -l", "sshd's log")
	r.types("eicctl fingerprint ~/.ssh/id_ed25519.pub", done, "ssh-ed25519, 256 bits")
	r.types("eicctl fingerprint --host --name db1.example.com", done, `(?m)^db1\.example\.com ssh-ed25519 AAAA`)
	r.types("eicctl fingerprint --host --name db1.example.com >> known_hosts", done, `^exit 0`)
	r.shell("ssh-keygen -F db1.example.com -f known_hosts", done, "db1.example.com ssh-ed25519 ")
}

// console locks the serial console, has it opened, and overrides the lock.
func (r *reader) console(p port) {
	r.t.Helper()
	r.shell("echo lock | script --quiet --return --command 'eicctl serial enable' typescript", done, "locked")
	r.types("eicctl serial disable", done, "off: ")
	delete(r.untyped, "eicctl serial enable")
	r.types("eicctl serial enable --when-unreachable lock", done, "locked")
	r.types("eicctl serial status", done, "the console is locked", "runs now +eic-serial-getty\n")
	r.types("eicctl serial status --json", done, `"state": "locked"`)
	p.knock("is locked (not-pushed)")
	_, public := r.newKey()
	if _, err := r.aws.Push(instance, emulator.SerialUser(instance, 0), public, emulator.DefaultCallerARN); err != nil {
		r.t.Fatal(err)
	}
	p.knock("Looking for a key ...")
	p.talk("login: ")
	r.must("journalctl", "--sync")
	r.types("journalctl -t eic-serial-getty", done, `eic-serial-getty\[\d+\]: opened ttyS0 with the key SHA256:\S+, pushed by `+emulator.DefaultCallerARN+`\n`)
	const override = "/etc/systemd/system/serial-getty@.service.d/zzz-site.conf"
	r.write(override, "[Service]\nExecStart=\nExecStart=-/sbin/agetty --keep-baud 9600 - $TERM\n")
	r.must("systemctl", "daemon-reload")
	const says = "the console is not locked: systemd starts /sbin/agetty --keep-baud 9600 - $TERM, by " + override + ":3; rename "
	r.types("eicctl serial check", no, "^"+regexp.QuoteMeta(says))
	r.must("systemctl", "start", checkService)
	r.checked()
	r.must("journalctl", "--sync")
	r.types("journalctl -b -u eic-serial-check", done, `eicctl\[\d+\]: `+regexp.QuoteMeta(says))
	r.must("sh", "-c", "rm "+override+" && systemctl daemon-reload")
	r.types("eicctl serial check", done, "^exit 0")
	r.types("eicctl serial disable", done, "off: ")
}

// fleet collects the journal of a host, here this one, and audits the collection.
func (r *reader) fleet() {
	r.t.Helper()
	r.must("sh", "-c", `cat /root/.ssh/id_ed25519.pub >>/root/.ssh/authorized_keys
		sed 's/^127.0.0.1/web1/' /root/known_hosts >/root/.ssh/known_hosts
		echo 127.0.0.1 web1 >>/etc/hosts`)
	const remote = " |\n    /lib/systemd/systemd-journal-remote --output=/var/log/journal/remote/web1.journal -"
	r.types("mkdir -p /var/log/journal/remote", done)
	r.types("ssh web1 journalctl --output=export --since=-2h"+remote, done)
	r.types("ssh web1 journalctl --output=export --cursor-file=/var/tmp/eic-audit.cursor"+remote, done)
	r.must("test", "-s", "/var/tmp/eic-audit.cursor")
	r.types("/lib/systemd/systemd-journal-remote --trust=/etc/ssl/ca/trusted.pem --version", []int{0, 1})
	r.types("eicctl audit --directory /var/log/journal/remote --since 7d", done, "postgres")

	request := strings.TrimSpace(r.must("sh", "-c", "eicctl audit --since 7d --json | jq -r '.sessions[] | select(.user == \"postgres\").request'"))
	call := fmt.Sprintf(`{"eventVersion":"1.08","eventTime":"%s","eventSource":"ec2-instance-connect.amazonaws.com","eventName":"SendSSHPublicKey","eventID":"1","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli/2.13","requestID":"%s","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/dba/alice"}}`,
		time.Now().UTC().Format(time.RFC3339), request)
	r.write("/root/FILE.json", `{"Records":[`+call+"]}")
	r.must("sh", "-c", `cd /root && gzip -k FILE.json && cp FILE.json.gz trail.json.gz
		jq '{Events: [.Records[] | {EventId: .eventID, EventName: .eventName, CloudTrailEvent: tojson}]}' FILE.json >events.json`)
	r.types("eicctl audit --directory /var/log/journal/remote --cloudtrail FILE.json.gz", done, `198\.51\.100\.7`)
	r.types("eicctl audit --directory /var/log/journal/remote --cloudtrail trail.json.gz --json", done, `"source_ip": "198\.51\.100\.7"`)
	r.types("eicctl audit --directory /var/log/journal/remote --json \\\n    --cloudtrail trail.json.gz | jq '.sessions[]'", done, `"source_ip": "198\.51\.100\.7"`)
	r.types("eicctl audit --cloudtrail events.json", done, `198\.51\.100\.7`)
	r.types("eicctl policy test new.toml --since 90d \\\n    --directory /var/log/journal/remote --output csv", no, `(?m)^change,`)
	r.types("eicctl policy test new.toml --since 7d --directory /var/log/journal/remote -o csv", no, `(?m)^change,`)
	r.types("eicctl audit --directory /var/log/journal/remote --since yesterday --until today --output ocsf > ocsf.jsonl", done)
	r.types("eicctl audit --directory /var/log/journal/remote --since yesterday --until today \\\n    --output csv > audit-$(date -d yesterday +%F).csv", done)
	r.shell("head -1 audit-*.csv", done, "^kind,")
	r.must("journalctl", "--flush")
	r.types("journalctl --setup-keys --interval=15min", done)
	r.types("journalctl --rotate", done)
	r.must("logger", "sealed")
	r.must("journalctl", "--sync")
	r.shell("journalctl --header --file=/var/log/journal/$(cat /etc/machine-id)/system.journal", done, "Compatible flags: SEALED")
}

// theirs goes back to AWS's package.
func (r *reader) theirs() {
	r.t.Helper()
	r.must("sh", "-c", `mkdir -p /srv/theirs/p/DEBIAN && cd /srv/theirs
		printf '%s\n' 'Package: ec2-instance-connect' 'Version: 1.1.14' 'Architecture: all' 'Maintainer: a <a@example.com>' 'Description: a' >p/DEBIAN/control
		dpkg-deb --build p e.deb
		{ cat p/DEBIAN/control; echo "Filename: e.deb"; echo "Size: $(stat -c %s e.deb)"; echo "SHA256: $(sha256sum e.deb | cut -d' ' -f1)"; } >Packages
		echo 'deb [trusted=yes] file:/srv/theirs ./' >/etc/apt/sources.list.d/theirs.list
		apt-get update`)
	r.types("eicctl sshd enable", done)
	r.types("eicctl sshd disable && apt-get purge eic-agent && apt-get install ec2-instance-connect", done, "Setting up ec2-instance-connect")
	r.write("/root/"+filepath.Base(deb(newVersion)), r.must("cat", "/root/dist/"+filepath.Base(deb(newVersion))))
	r.types("sudo EIC_ENABLE=1 apt-get install ./eic-agent_VERSION-1_amd64.deb", done, "Removing ec2-instance-connect", "runs eic-authkeys")
	r.types("eicctl sshd status", done)
}
