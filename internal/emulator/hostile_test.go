package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/eic-agent/eic-agent/internal/emulator"
)

// TestHostileRequests sends requests that no SDK makes. Every answer has the
// shape of AWS's errors.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	api := newServer(t, emulator.Options{Credentials: unverified}).APIHandler()
	const (
		jsonType = "application/x-amz-json-1.1"
		form     = "application/x-www-form-urlencoded; charset=utf-8"
		eicPush  = "AWSEC2InstanceConnectService.SendSSHPublicKey"
		lightImp = "Lightsail_20161128.ImportKeyPair"
	)
	auth := func(service string) string {
		return "AWS4-HMAC-SHA256 Credential=test/20260304/us-east-1/" + service + "/aws4_request, SignedHeaders=host, Signature=00"
	}
	deep := strings.Repeat(`{"a":`, 100000) + strings.Repeat("}", 100000)
	for _, row := range []struct {
		name, contentType, target, service, body string
		status                                   int
		code                                     string
	}{
		{"no target", jsonType, "", "ec2-instance-connect", "{}", 400, "UnknownOperationException"},
		{"unknown service", jsonType, "Kinesis_20131202.PutRecord", "kinesis", "{}", 400, "ServiceNotEmulated"},
		{"unknown operation", jsonType, eicPush + "s", "ec2-instance-connect", "{}", 400, "UnknownOperationException"},
		{"another service's scope", jsonType, eicPush, "ec2", "{}", 400, "InvalidSignatureException"},
		{"broken JSON", jsonType, eicPush, "ec2-instance-connect", "{", 400, "SerializationException"},
		{"deep JSON", jsonType, eicPush, "ec2-instance-connect", deep, 400, "SerializationException"},
		{"10 MB of JSON", jsonType, eicPush, "ec2-instance-connect", `{"InstanceId":"` + strings.Repeat("x", 10<<20) + `"}`, 413, "RequestEntityTooLargeException"},
		{"not UTF-8", jsonType, eicPush, "ec2-instance-connect", "{\"InstanceId\":\"\xff\xfe\"}", 400, "InvalidArgsException"},
		{"number", jsonType, eicPush, "ec2-instance-connect", `{"InstanceId":1}`, 400, "SerializationException"},
		{"port text", jsonType, "AWSEC2InstanceConnectService.SendSerialConsoleSSHPublicKey", "ec2-instance-connect", `{"InstanceId":"i-0123456789abcdef0","SSHPublicKey":"` + ed25519Line + `","SerialPort":"0"}`, 400, "SerializationException"},
		{"port fraction", jsonType, "AWSEC2InstanceConnectService.SendSerialConsoleSSHPublicKey", "ec2-instance-connect", `{"InstanceId":"i-0123456789abcdef0","SSHPublicKey":"` + ed25519Line + `","SerialPort":0.5}`, 400, "SerializationException"},
		{"lightsail number", jsonType, lightImp, "lightsail", `{"keyPairName":1}`, 400, "SerializationException"},
		{"lightsail nothing", jsonType, lightImp, "lightsail", `{}`, 400, "InvalidInputException"},
		{"lightsail flag", jsonType, "Lightsail_20161128.GetKeyPairs", "lightsail", `{"includeDefaultKeyPair":"x"}`, 400, "SerializationException"},

		{"no action", form, "", "ec2", "Version=2016-11-15", 400, "MissingAction"},
		{"no version", form, "", "ec2", "Action=ImportKeyPair", 400, "MissingParameter"},
		{"odd version", form, "", "ec2", "Action=ImportKeyPair&Version=latest", 400, "NoSuchVersion"},
		{"later version", form, "", "ec2", "Action=DescribeKeyPairs&Version=2016-11-16", 400, "NoSuchVersion"},
		{"unknown action", form, "", "ec2", "Action=CreateVpc&Version=2016-11-15", 400, "InvalidAction"},
		{"markup action", form, "", "ec2", "Version=2016-11-15&Action=" + url.QueryEscape("<!DOCTYPE x>&\x00\xff"), 400, "InvalidAction"},
		{"broken form", form, "", "ec2", "Action=%zz", 400, "MalformedQueryString"},
		{"empty form", form, "", "ec2", "", 400, "MissingParameter"},
		{"many parameters", form, "", "ec2", "Action=DescribeKeyPairs&Version=2016-11-15" + strings.Repeat("&KeyName.1=a", 5000), 400, "MalformedQueryString"},
		{"10 MB of form", form, "", "ec2", "Action=ImportKeyPair&X=" + strings.Repeat("x", 10<<20), 413, "RequestEntityTooLargeException"},
		{"unknown parameter", form, "", "ec2", "Action=ImportKeyPair&Version=2016-11-15&KeyName=a&Color=red", 400, "UnknownParameter"},
		{"huge index", form, "", "ec2", "Action=DescribeKeyPairs&Version=2016-11-15&KeyName.99999999999999999999=a", 400, "UnknownParameter"},
		{"index 0", form, "", "ec2", "Action=DescribeKeyPairs&Version=2016-11-15&KeyName.0=a", 200, ""},
		{"not base64", form, "", "ec2", "Action=ImportKeyPair&Version=2016-11-15&KeyName=a&PublicKeyMaterial=%21%21", 400, "InvalidKey.Format"},
		{"base64 of nothing", form, "", "ec2", "Action=ImportKeyPair&Version=2016-11-15&KeyName=a&PublicKeyMaterial=AAAA", 400, "InvalidKey.Format"},
		{"flag", form, "", "ec2", "Action=EnableSerialConsoleAccess&Version=2016-11-15&DryRun=maybe", 400, "InvalidParameterValue"},
		{"huge NextToken", form, "", "ec2", "Action=DescribeInstances&Version=2016-11-15&NextToken=9223372036854775807", 400, "InvalidParameterValue"},
		{"huge pageToken", jsonType, "Lightsail_20161128.GetKeyPairs", "lightsail", `{"pageToken":"9223372036854775807"}`, 400, "InvalidInputException"},
		{"managed resources", form, "", "ec2", "Action=DescribeInstances&Version=2016-11-15&IncludeManagedResources=true", 200, ""},
		{"tag-key", form, "", "ec2", "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag-key&Filter.1.Value.1=x", 200, ""},
		{"another scope", form, "", "lightsail", "Action=DescribeKeyPairs&Version=2016-11-15", 401, "AuthFailure"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(row.body))
			request.Header.Set("Content-Type", row.contentType)
			request.Header.Set("X-Amz-Target", row.target)
			request.Header.Set("Authorization", auth(row.service))
			recorder := httptest.NewRecorder()
			api.ServeHTTP(recorder, request)
			code, message := errorOf(t, recorder.Body.Bytes(), row.contentType == form)
			if recorder.Code != row.status || code != row.code || (code == "") != (message == "") {
				t.Errorf("got %d, %s: %s, want %d, %s", recorder.Code, code, message, row.status, row.code)
			}
			if len(message) > 400 {
				t.Errorf("the message has %d bytes", len(message))
			}
		})
	}
}

// errorOf reads an error as the SDKs do.
func errorOf(t *testing.T, body []byte, isXML bool) (code, message string) {
	t.Helper()
	if !isXML {
		var e struct {
			Type         string `json:"__type"`
			Message, Msg string
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return e.Type, e.Message
	}
	var e struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
		ID      string `xml:"RequestID"`
		Success string `xml:"requestId"`
	}
	if err := xml.Unmarshal(body, &e); err != nil || len(e.ID)+len(e.Success) != 36 {
		t.Fatalf("%v in %s", err, body)
	}
	return e.Code, e.Message
}

// TestSlowClients have their connections ended by the server.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, emulator.Options{})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	for name, row := range map[string]struct {
		url, begin, drip string
	}{
		"head of the API":      {s.APIURL(), "POST / HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n"},
		"head of the metadata": {s.IMDSURL(emulator.DefaultInstanceID), "GET / HTTP/1.1\r\n", "X-A: b\r\n"},
		"body of the API":      {s.APIURL(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(row.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			if _, err := io.WriteString(conn, row.begin); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn)
			}()
			for {
				select {
				case <-ended:
					return
				case <-time.After(250 * time.Millisecond):
					_, _ = io.WriteString(conn, row.drip)
				}
				if took := time.Since(began); took > time.Minute {
					t.Fatalf("the connection is still open after %v", took)
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestControlHostile(t *testing.T) {
	t.Parallel()
	api := newServer(t, emulator.Options{}).APIHandler()
	for _, row := range []struct {
		name, method, path, body string
		header                   [2]string
		status                   int
	}{
		{"browser", "GET", "/_emu/faults", "", [2]string{"Origin", "http://example.net"}, 403},
		{"browser, no origin", "POST", "/_emu/rotate", "", [2]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"unknown", "GET", "/_emu/nothing", "", [2]string{}, 404},
		{"method", "PATCH", "/_emu/faults", "", [2]string{}, 405},
		{"broken", "POST", "/_emu/faults", "{", [2]string{}, 400},
		{"unknown member", "POST", "/_emu/clock", `{"x":1}`, [2]string{}, 400},
		{"no duration", "POST", "/_emu/clock", `{}`, [2]string{}, 400},
		{"unknown fault", "POST", "/_emu/faults", `{"faults":["reset","x"]}`, [2]string{}, 400},
		{"no instance", "POST", "/_emu/instances/i-0", `{}`, [2]string{}, 400},
		{"state", "POST", "/_emu/instances/i-0123456789abcdef0", `{"state":"on"}`, [2]string{}, 400},
		{"2 MB", "PUT", "/_emu/instances/i-0123456789abcdef0/metadata/x", strings.Repeat("x", 2<<20), [2]string{}, 400},
	} {
		request := httptest.NewRequest(row.method, row.path, strings.NewReader(row.body))
		if row.header[0] != "" {
			request.Header.Set(row.header[0], row.header[1])
		}
		recorder := httptest.NewRecorder()
		api.ServeHTTP(recorder, request)
		if recorder.Code != row.status {
			t.Errorf("%s: got %d, %s, want %d", row.name, recorder.Code, recorder.Body, row.status)
		}
	}
	recorder := httptest.NewRecorder()
	api.ServeHTTP(recorder, httptest.NewRequest("GET", "/_emu/faults", nil))
	if !bytes.Contains(recorder.Body.Bytes(), []byte(`"faults": null`)) {
		t.Errorf("a fault of a refused list is on order: %s", recorder.Body)
	}
}
