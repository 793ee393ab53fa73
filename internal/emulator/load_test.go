package emulator_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	eic "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/sys/unix"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// hammer calls work from some goroutines until d has passed, and returns how
// often it was done in a second.
func hammer(tb testing.TB, goroutines int, d time.Duration, work func(worker, i int) error) float64 {
	tb.Helper()
	var done atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for w := range goroutines {
		workers.Go(func() {
			for i := 0; time.Since(began) < d; i++ {
				if err := work(w, i); err != nil {
					tb.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// served is an emulator on real ports.
func served(tb testing.TB, o emulator.Options) *emulator.Server {
	tb.Helper()
	key, err := signerKey()
	if err != nil {
		tb.Fatal(err)
	}
	o.SignerKey = key
	s, err := emulator.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		tb.Fatal(err)
	}
	go func() { _ = s.Serve(tb.Context()) }()
	return s
}

// reader returns a function that reads one path of an instance's metadata.
func reader(tb testing.TB, s *emulator.Server, client *http.Client) func(path string) error {
	tb.Helper()
	url := s.IMDSURL(emulator.DefaultInstanceID)
	ask := func(method, path, header, value string) ([]byte, error) {
		request, err := http.NewRequestWithContext(tb.Context(), method, url+path, nil)
		if err != nil {
			return nil, err
		}
		request.Header.Set(header, value)
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s is %d", path, response.StatusCode)
		}
		return body, err
	}
	token, err := ask(http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "600")
	if err != nil {
		tb.Fatal(err)
	}
	return func(path string) error {
		_, err := ask(http.MethodGet, "/latest/meta-data/"+path, "X-aws-ec2-metadata-token", string(token))
		return err
	}
}

// TestMixedLoad is for the race detector: pushes, imports, reads, rotations
// and faults at the same time, over real connections.
func TestMixedLoad(t *testing.T) {
	t.Parallel()
	s := served(t, emulator.Options{StateFile: t.TempDir() + "/state", CloudTrail: io.Discard, SerialAccess: true})
	if _, err := s.Push(emulator.DefaultInstanceID, "reader", ed25519Line, ""); err != nil {
		t.Fatal(err)
	}
	c := clientsAt(s.APIURL(), "us-east-1", testKey)
	read := reader(t, s, http.DefaultClient)
	var all sync.WaitGroup
	for _, part := range []struct {
		workers int
		work    func(worker, i int) error
	}{
		{2, func(worker, i int) error {
			in := input()
			in.InstanceOSUser = aws.String("u" + strconv.Itoa(worker) + "-" + strconv.Itoa(i%10))
			_, err := c.eic.SendSSHPublicKey(t.Context(), in)
			return err
		}},
		{1, func(_, i int) error {
			_, err := c.ec2.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String("k" + strconv.Itoa(i)), PublicKeyMaterial: []byte(ed25519Line)})
			return err
		}},
		{1, func(_, i int) error {
			_, err := c.eic.SendSerialConsoleSSHPublicKey(t.Context(), serialInput(emulator.DefaultInstanceID))
			return err
		}},
		{3, func(_, i int) error {
			paths := []string{"managed-ssh-keys/active-keys/reader", "managed-ssh-keys/signer-cert", "managed-ssh-keys/signer-ocsp/", "placement/region", ""}
			return read(paths[i%len(paths)])
		}},
		{1, func(_, i int) error {
			if i%2 == 0 {
				return s.InjectFault("latency=1ms")
			}
			s.ClearFaults("")
			s.Requests()
			s.Instances()
			return nil
		}},
	} {
		all.Go(func() { hammer(t, part.workers, 2*time.Second, part.work) })
	}
	for range 2 {
		if err := s.RotateSigners(false); err != nil {
			t.Error(err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	all.Wait()
}

// TestManyClients has 1,000 clients, or as many as this process may have files for, push
// at the same time, over connections of their own, to an emulator with a state file. All
// are answered, and all keys are there.
func TestManyClients(t *testing.T) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	many := int(min(1000, files.Cur/4)) // both ends are here, and other tests
	s := served(t, emulator.Options{StateFile: t.TempDir() + "/state"})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Minute}
	c := eic.New(eic.Options{
		BaseEndpoint: aws.String(s.APIURL()), Region: "us-east-1", HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider(emulator.DefaultAccessKey, emulator.DefaultSecretKey, ""),
	})
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			<-start
			in := input()
			in.InstanceOSUser = aws.String("u" + strconv.Itoa(i))
			if _, err := c.SendSSHPublicKey(t.Context(), in); err != nil {
				t.Error(err)
			}
		})
	}
	began := time.Now()
	close(start)
	all.Wait()
	t.Logf("%d clients at once were answered in %s", many, time.Since(began).Round(time.Millisecond))
	session := &session{t: t, url: s.IMDSURL(emulator.DefaultInstanceID)}
	session.renew()
	if got := len(strings.Fields(session.mustGet("managed-ssh-keys/active-keys/"))); got != many {
		t.Errorf("there are keys of %d users", got)
	}
}

// BenchmarkPush is one SendSSHPublicKey, by the SDK over a connection: client
// and server share the machine.
func BenchmarkPush(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkPush(b, emulator.Options{}) })
	b.Run("state file", func(b *testing.B) { benchmarkPush(b, emulator.Options{StateFile: b.TempDir() + "/state"}) })
}

func benchmarkPush(b *testing.B, o emulator.Options) {
	s := served(b, o)
	c := clientsAt(s.APIURL(), "us-east-1", testKey).eic
	var n atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			in := input()
			in.InstanceOSUser = aws.String("u" + strconv.FormatInt(n.Add(1)%100, 10))
			if _, err := c.SendSSHPublicKey(b.Context(), in); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
}

// BenchmarkRead is one read of the metadata service over a kept connection.
func BenchmarkRead(b *testing.B) {
	for name, path := range map[string]string{
		"keys": "managed-ssh-keys/active-keys/u", "chain": "managed-ssh-keys/signer-cert", "region": "placement/region",
	} {
		b.Run(name, func(b *testing.B) {
			s := served(b, emulator.Options{})
			if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
				b.Fatal(err)
			}
			read := reader(b, s, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}})
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := read(path); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
		})
	}
}

// pace returns a channel that lets rate receives a second through, however
// late the receivers are, until the benchmark ends.
func pace(b *testing.B, rate int) <-chan struct{} {
	tokens := make(chan struct{}, rate)
	go func() {
		began, sent := time.Now(), 0
		for b.Context().Err() == nil {
			for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; sent++ {
				select {
				case tokens <- struct{}{}:
				default: // nobody can keep up
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return tokens
}

// BenchmarkMixed asks for 550 pushes and 5,500 reads a second at the same time,
// and says what came of it.
func BenchmarkMixed(b *testing.B) {
	s := served(b, emulator.Options{})
	c := clientsAt(s.APIURL(), "us-east-1", testKey).eic
	if _, err := s.Push(emulator.DefaultInstanceID, "u", ed25519Line, ""); err != nil {
		b.Fatal(err)
	}
	read := reader(b, s, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}})
	for b.Loop() {
		const length = 10 * time.Second
		var pushes, reads float64
		var both sync.WaitGroup
		pushing, reading := pace(b, 550), pace(b, 5500)
		both.Go(func() {
			pushes = hammer(b, 4, length, func(_, i int) error {
				<-pushing
				in := input()
				in.InstanceOSUser = aws.String("u" + strconv.Itoa(i%100))
				_, err := c.SendSSHPublicKey(b.Context(), in)
				return err
			})
		})
		both.Go(func() {
			reads = hammer(b, 8, length, func(_, i int) error {
				<-reading
				return read([]string{"managed-ssh-keys/active-keys/u", "managed-ssh-keys/signer-cert", "services/domain", "instance-id"}[i%4])
			})
		})
		both.Wait()
		b.ReportMetric(pushes, "pushes/s")
		b.ReportMetric(reads, "reads/s")
	}
}

// TestMemory pushes for a long time on the emulator's clock, 50 keys a second,
// and looks at the heap, which it wants for itself. EIC_PUSHES sets how many;
// docs/emulator.md has figures of a million.
func TestMemory(t *testing.T) {
	pushes := 40000
	if text := os.Getenv("EIC_PUSHES"); text != "" {
		var err error
		if pushes, err = strconv.Atoi(text); err != nil || pushes < 30000 {
			t.Fatalf("EIC_PUSHES is %q, and should be a number from 30000 on", text)
		}
	}
	var clock clock
	s := newServer(t, emulator.Options{Credentials: unverified, Now: clock.now})
	api := s.APIHandler()
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	body := []byte(`{"InstanceId":"` + emulator.DefaultInstanceID + `","InstanceOSUser":"u%04d","SSHPublicKey":"` + ed25519Line + `"}`)
	push := func(i int) {
		request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(fmt.Appendf(nil, string(body), i%5000)))
		request.Header.Set("X-Amz-Target", "AWSEC2InstanceConnectService.SendSSHPublicKey")
		request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260304/us-east-1/ec2-instance-connect/aws4_request, SignedHeaders=host, Signature=00")
		recorder := httptest.NewRecorder()
		api.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK {
			t.Fatalf("push %d is %d, %s", i, recorder.Code, recorder.Body)
		}
		clock.move(20 * time.Millisecond) // 3,000 keys live at a time
	}
	before := heap()
	var first, most uint64
	for i := range pushes {
		push(i)
		if (i+1)%max(1, pushes/10) == 0 {
			now := heap()
			if first == 0 {
				first = now
			}
			most = max(most, now)
			t.Logf("after %d pushes the heap has %.1f MiB", i+1, float64(now)/(1<<20))
		}
	}
	clock.move(time.Minute)
	push(0)
	after := heap()
	t.Logf("before %.1f MiB, at most %.1f MiB, when all but one had expired %.1f MiB", float64(before)/(1<<20), float64(most)/(1<<20), float64(after)/(1<<20))
	if after > before+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	if most > first+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes while the number of live keys did not", first, most)
	}
}
