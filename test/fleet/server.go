package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/eic-agent/eic-agent/test/host"
)

// uploader sends journals over HTTP.
const uploader = "/lib/systemd/systemd-journal-upload"

// logs is a VictoriaLogs.
type logs struct {
	url string
	cmd *exec.Cmd
}

func startServer(ctx context.Context, storage string) (*logs, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	listener.Close()
	// The recorded time is long ago.
	cmd := exec.Command(server, "-httpListenAddr="+address, "-storageDataPath="+storage, "-retentionPeriod=100y", "-loggerLevel=ERROR")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	l := &logs{"http://" + address, cmd}
	for deadline := time.Now().Add(host.Patience); ; time.Sleep(50 * time.Millisecond) {
		if _, err := l.get(ctx, "/health", nil); err == nil {
			return l, nil
		} else if time.Now().After(deadline) || ctx.Err() != nil {
			l.stop()
			return nil, fmt.Errorf("VictoriaLogs does not answer: %w", err)
		}
	}
}

func (l *logs) stop() {
	l.cmd.Process.Signal(os.Interrupt)
	l.cmd.Wait()
}

func (l *logs) get(ctx context.Context, path string, values url.Values) ([]byte, error) {
	return l.do(ctx, http.MethodGet, path+"?"+values.Encode(), nil)
}

func (l *logs) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, l.url+path, body)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return text, err
}

// upload sends all journals in dir, and waits until they can be asked for.
func (l *logs) upload(ctx context.Context, dir string) error {
	start := time.Now()
	cmd := exec.CommandContext(ctx, uploader, "--url="+l.url+"/insert/journald", "--directory="+dir, "--follow=no")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("systemd-journal-upload: %w: %s", err, out)
	}
	if _, err := l.get(ctx, "/internal/force_flush", nil); err != nil {
		return err
	}
	rows, err := l.query(ctx, "* | stats count() records, count_uniq(_MACHINE_ID) hosts")
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("VictoriaLogs counts its records in %d rows", len(rows))
	}
	fmt.Printf("systemd-journal-upload sent %s records of %s hosts in %.1f s\n", rows[0]["records"], rows[0]["hosts"], time.Since(start).Seconds())
	return nil
}

// trailed is how many of the fleet's sessions have a call in CloudTrail.
const trailed = 990

// addTrail puts CloudTrail's records of calls beside the journals, as docs/fleet.md has it.
func (l *logs) addTrail(ctx context.Context) error {
	var b bytes.Buffer
	for i := range trailed {
		fmt.Fprintf(&b, `{"eventTime":"2023-11-14T22:13:20Z","eventSource":"ec2-instance-connect.amazonaws.com","eventName":"SendSSHPublicKey","requestID":"00000000-0000-4000-8000-%012d","eventID":"%d"}`+"\n", i, i)
	}
	if _, err := l.do(ctx, http.MethodPost, "/insert/jsonline?_stream_fields=eventSource&_time_field=eventTime&_msg_field=eventName", &b); err != nil {
		return err
	}
	_, err := l.get(ctx, "/internal/force_flush", nil)
	return err
}

// A row is one of an answer.
type row map[string]string

func (l *logs) query(ctx context.Context, text string) ([]row, error) {
	out, err := l.get(ctx, "/select/logsql/query", url.Values{"query": {text}, "limit": {"100000"}})
	if err != nil {
		return nil, err
	}
	var rows []row
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var r row
		if err := decoder.Decode(&r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// checkRules asks each alert rule as vmalert does, over the recorded time.
func (l *logs) checkRules(ctx context.Context) error {
	text, err := os.ReadFile(rules)
	if err != nil {
		return err
	}
	found := regexp.MustCompile(`(?m)alert: (\w+)\n\s+expr: '(.*)'$`).FindAllStringSubmatch(string(text), -1)
	if len(found) == 0 || len(found) != strings.Count(string(text), "alert: ") {
		return fmt.Errorf("%s: only %d rules can be read", rules, len(found))
	}
	fmt.Println()
	for _, m := range found {
		query := regexp.MustCompile(`_time:\w+`).ReplaceAllString(m[2], "*")
		out, err := l.get(ctx, "/select/logsql/stats_query", url.Values{"query": {query}, "time": {fmt.Sprint(begin + 3600)}})
		if err != nil {
			return fmt.Errorf("%s: %w", m[1], err)
		}
		var answer struct {
			Data struct{ Result []any }
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			return err
		}
		fmt.Printf("alert %s: %d\n", m[1], len(answer.Data.Result))
		if len(answer.Data.Result) == 0 {
			return fmt.Errorf("%s never fires: %s", m[1], query)
		}
	}
	return nil
}
