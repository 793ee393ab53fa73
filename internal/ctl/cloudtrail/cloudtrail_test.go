package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

const role = "arn:aws:sts::123456789012:assumed-role/dba/alice"

func record(request string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":%q,"sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::123456789012:role/dba"}}},`+
		`"eventTime":"2026-03-01T12:00:00Z","eventSource":"ec2-instance-connect.amazonaws.com","eventName":"SendSSHPublicKey","sourceIPAddress":"192.0.2.1","userAgent":"aws-cli/2 (a, b)",`+
		`"requestParameters":{"osUser":"ubuntu","SSHKey":{"publicKey":"x"}},"responseElements":null,"requestID":%q,"eventID":"e-%s","resources":[{"ARN":"a","type":"b"}]}`, role, request, request)
}

func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

func pack(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func utf16Text(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// shapes are files with the records r1 and r2, and nothing else.
func shapes() map[string]string {
	a, b := record("r1"), record("r2")
	both := a + "," + b
	records := `{"Records":[` + both + `]}`
	lookup := func(r string) string {
		return `{"EventId":"x","EventName":"SendSSHPublicKey","EventTime":1772366400.0,"EventSource":"ec2-instance-connect.amazonaws.com","ReadOnly":"false","Username":"alice","Resources":[],"CloudTrailEvent":` + quote(r) + `}`
	}
	envelope := func(r string) string {
		return `{"version":"0","id":"i","detail-type":"AWS API Call via CloudTrail","source":"aws.ec2-instance-connect","account":"123456789012","time":"2026-03-01T12:00:00Z","region":"eu-central-1","resources":[],"detail":` + r + `}`
	}
	logged := func(r string) string {
		return `{"logStreamName":"s","timestamp":1772366400000,"message":` + quote(r) + `,"ingestionTime":1,"eventId":"7"}`
	}
	subscription := `{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1,"message":` + quote(a) + `},{"id":"2","timestamp":2,"message":` + quote(b) + `}]}`
	data := base64.StdEncoding.EncodeToString([]byte(pack(subscription)))
	insights := func(r string) string {
		return `[{"field":"@timestamp","value":"2026-03-01 12:00:00.000"},{"field":"@message","value":` + quote(r) + `},{"field":"@ptr","value":"p"}]`
	}
	column := func(request string) string {
		return fmt.Sprintf(`[{"field":"eventName","value":"SendSSHPublicKey"},{"field":"eventSource","value":"ec2-instance-connect.amazonaws.com"},{"field":"requestID","value":%q},`+
			`{"field":"userIdentity.arn","value":%q},{"field":"eventTime","value":"2026-03-01T12:00:00Z"},{"field":"sourceIPAddress","value":"192.0.2.1"},{"field":"userAgent","value":"aws-cli/2 (a, b)"},{"field":"eventID","value":"e-%s"}]`, request, role, request)
	}
	identity := "{type=AssumedRole, principalid=AROA:alice, arn=" + role + ", accountid=123456789012, sessioncontext={sessionissuer={arn=arn:aws:iam::123456789012:role/dba}}}"
	lake := func(request string) string {
		return fmt.Sprintf(`[{"eventID":"e-%s"},{"eventTime":"2026-03-01 12:00:00.000"},{"eventSource":"ec2-instance-connect.amazonaws.com"},{"eventName":"SendSSHPublicKey"},{"requestID":%q},{"userIdentity":%q},{"sourceIPAddress":"192.0.2.1"},{"userAgent":"aws-cli/2 (a, b)"},{"errorCode":null}]`, request, request, identity)
	}
	row := func(separator, request string) string {
		return strings.Join([]string{"e-" + request, "2026-03-01T12:00:00Z", "ec2-instance-connect.amazonaws.com", "SendSSHPublicKey", request, `"` + identity + `"`, "192.0.2.1", `"aws-cli/2 (a, b)"`}, separator) + "\r\n"
	}
	head := func(separator string) string {
		return strings.Join([]string{"eventid", "eventtime", "eventsource", "eventname", "requestid", "useridentity", "sourceipaddress", "useragent"}, separator) + "\r\n"
	}
	csvQuote := func(r string) string { return `"` + strings.ReplaceAll(r, `"`, `""`) + `"` }
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	wrapped := func(text string) string {
		return regexp.MustCompile(`.{76}`).ReplaceAllString(text, "$0\n") + "\n"
	}
	indented := func(text string) string {
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(text), "", "    "); err != nil {
			panic(err)
		}
		return b.String()
	}
	folded := func(r string) string { return strings.ReplaceAll(r, " ", "\n    ") }
	return map[string]string{
		"delivered":                   records,
		"delivered, gzip":             pack(records),
		"delivered, two gzip members": pack(`{"Records":[`+a+`]}`) + pack(`{"Records":[`+b+`]}`),
		"delivered, twice":            `{"Records":[` + a + `]}` + "\n" + `{"Records":[` + b + `]}`,
		"other member first":          `{"x":{"y":[1]},"Records":[` + both + `],"z":null}`,
		"UTF-8 mark":                  "\ufeff" + records,
		"UTF-8 mark, gzip":            pack("\ufeff" + records),
		"UTF-16 LE":                   utf16Text(binary.LittleEndian, "\ufeff"+records),
		"UTF-16 BE":                   utf16Text(binary.BigEndian, "\ufeff"+records),
		"UTF-16, gzip":                pack(utf16Text(binary.LittleEndian, "\ufeff"+records)),
		"UTF-16, no mark":             utf16Text(binary.LittleEndian, records),
		"blanks before":               "\r\n\t " + records,
		"list":                        "[" + both + "]",
		"lists in a list":             "[[" + a + "],[" + b + "]]",
		"lines":                       a + "\n" + b + "\n",
		"CRLF lines":                  a + "\r\n" + b + "\r\n",
		"no line ends":                a + b,
		"lookup-events":               `{"NextToken":"x","Events":[` + lookup(a) + "," + lookup(b) + `]}`,
		"lookup-events, lines":        lookup(a) + "\n" + lookup(b),
		"lookup-events, only text":    "[" + quote(a) + "," + quote(b) + "]",
		"lookup-events, text lines":   quote(a) + "\n" + quote(b),
		"lookup-events --output text": "EVENTS\tAKIA\t" + a + "\te-1\tSendSSHPublicKey\nEVENTS\tAKIA\t" + b + "\te-2\n",
		"EventBridge":                 envelope(a) + "\n" + envelope(b),
		"EventBridge, list":           "[" + envelope(a) + "," + envelope(b) + "]",
		"EventBridge through SQS":     `{"Messages":[{"MessageId":"1","Body":` + quote(envelope(a)) + `},{"MessageId":"2","Body":` + quote(envelope(b)) + `}]}`,
		"SNS to a function":           `{"Records":[{"EventSource":"aws:sns","Sns":{"Message":` + quote(envelope(a)) + `}},{"EventSource":"aws:sns","Sns":{"Message":` + quote(envelope(b)) + `}}]}`,
		"filter-log-events":           `{"events":[` + logged(a) + "," + logged(b) + `],"searchedLogStreams":[]}`,
		"get-log-events":              `{"events":[{"timestamp":1,"message":` + quote(a) + `,"ingestionTime":2},{"timestamp":1,"message":` + quote(b) + `,"ingestionTime":2}],"nextForwardToken":"f/1","nextBackwardToken":"b/1"}`,
		"logs tail":                   "2026-03-01T12:00:00.000000+00:00 stream " + a + "\n2026-03-01T12:00:00+00:00 stream " + b + "\n",
		"filter --output text":        "EVENTS\t1\t2\t" + a + "\ts\t3\nEVENTS\t1\t2\t" + b + "\ts\t3\nSEARCHEDLOGSTREAMS\tTrue\ts\n",
		"subscription":                subscription,
		"subscription to a function":  `{"awslogs":{"data":"` + data + `"}}`,
		"subscription in Kinesis":     `{"Records":[{"kinesis":{"data":"` + data + `"},"eventSource":"aws:kinesis","eventName":"aws:kinesis:record"}]}`,
		"subscription, bare":          data + "\n",
		"subscription, control":       `{"messageType":"CONTROL_MESSAGE","logEvents":[{"id":"","message":"CWL CONTROL MESSAGE: Checking health of destination"}]}` + subscription,
		"Insights, messages":          `{"results":[` + insights(a) + "," + insights(b) + `],"statistics":{"recordsMatched":2.0},"status":"Complete"}`,
		"Insights, columns":           `{"queryLanguage":"CWLI","results":[` + column("r1") + "," + column("r2") + `],"status":"Complete"}`,
		"Insights, console JSON":      `[{"@timestamp":"t","@message":` + a + `},{"@timestamp":"t","@message":` + quote(b) + `}]`,
		"Insights, CSV":               "@timestamp,@message\n2026-03-01 12:00:00.000," + csvQuote(a) + "\n2026-03-01 12:00:00.000," + csvQuote(b) + "\n",
		"Insights, quoted header":     `"@timestamp","@message"` + "\n" + `"t",` + csvQuote(a) + "\n" + `"t",` + csvQuote(b) + "\n",
		"Lake, results":               `{"QueryStatus":"FINISHED","QueryStatistics":{"ResultsCount":2},"QueryResultRows":[` + lake("r1") + "," + lake("r2") + `]}`,
		"Lake, CSV":                   head(",") + row(",", "r1") + row(",", "r2"),
		"Lake, CSV, gzip":             pack(head(",") + row(",", "r1") + row(",", "r2")),
		"Athena, semicolons":          head(";") + row(";", "r1") + row(";", "r2"),
		"spreadsheet, tabs, UTF-16":   utf16Text(binary.LittleEndian, "\ufeff"+head("\t")+row("\t", "r1")+row("\t", "r2")),
		"lower case":                  strings.NewReplacer("eventName", "eventname", "eventSource", "eventsource", "requestID", "requestid", "userIdentity", "useridentity", "eventID", "eventid", "eventTime", "eventtime", "sourceIPAddress", "sourceipaddress", "userAgent", "useragent").Replace(a + b),
		"searched in a log store":     `{"preview":false,"result":{"_raw":` + quote(a) + `,"_time":"t"}}` + "\n" + `{"result":{"_raw":` + quote(b) + `}}`,
		"gzip in gzip":                pack(pack(records)),
		"EventBridge in Kinesis":      `{"Records":[{"kinesis":{"data":"` + encode(envelope(a)) + `"},"eventSource":"aws:kinesis"},{"kinesis":{"data":"` + encode(envelope(b)) + `"},"eventSource":"aws:kinesis"}]}`,
		"EventBridge in Firehose":     `{"invocationId":"i","records":[{"recordId":"1","data":"` + encode(envelope(a)) + `"},{"recordId":"2","data":"` + encode(envelope(b)) + `"}]}`,
		"EventBridge, SNS, SQS":       `{"Messages":[{"Body":` + quote(`{"Type":"Notification","Message":`+quote("["+envelope(a)+","+envelope(b)+"]")+`}`) + `}]}`,
		"Kafka":                       `{"eventSource":"aws:kafka","records":{"t-0":[{"value":"` + encode(a) + `"},{"value":"` + encode(b) + `"}]}}`,
		"in base64":                   encode(records),
		"in base64, wrapped":          wrapped(encode(records)),
		"subscription, wrapped":       wrapped(data),
		"subscriptions, wrapped":      wrapped(encode(pack(a))) + wrapped(encode(pack(b))),
		"logs tail --format json":     "2026-03-01T12:00:00+00:00 stream\n" + indented(a) + "\n\n2026-03-01T12:00:00+00:00 stream\n" + indented(b) + "\n",
		"logs tail, indented":         "2026-03-01T12:00:00+00:00 stream " + indented(a) + "\n2026-03-01T12:00:00+00:00 stream " + indented(b) + "\n",
		"logs tail, a brace":          "2026-03-01T12:00:00+00:00 stream handler {\n2026-03-01T12:00:00+00:00 stream " + a + "\n2026-03-01T12:00:00+00:00 stream " + b + "\n",
		"logs tail, a brace before":   "2026-03-01T12:00:00+00:00 stream {it said " + a + "}\n2026-03-01T12:00:00+00:00 stream {it said} " + b + "\n",
		"logs tail, CR":               "t stream " + a + "\rt stream " + b + "\r",
		"several on a line":           "EVENTS\t" + a + "\t" + b + "\n",
		"a warning before":            "urllib3 only supports {OpenSSL}\n" + indented(`{"Events":[`+lookup(a)+","+lookup(b)+`]}`),
		"lookup-events --output yaml": "Events:\n- CloudTrailEvent: '" + folded(a) + "'\n  EventId: x\n- CloudTrailEvent: '" + folded(b) + "'\n  EventId: y\n",
		"Markdown":                    "```json\n" + indented(a) + "\n" + indented(b) + "\n```\n",
		"record separators":           "\x1e" + a + "\n\x1e" + b + "\n",
		"Insights, PowerShell":        strings.NewReplacer(`"field"`, `"Field"`, `"value"`, `"Value"`).Replace("[" + column("r1") + "," + column("r2") + "]"),
		"Lake, eventJson":             "eventJson\n" + csvQuote(a) + "\n" + csvQuote(b) + "\n",
		"Lake, eventJson, quoted":     "\"eventJson\"\n" + csvQuote(a) + "\n" + csvQuote(b) + "\n",
		"CSV, unknown header":         "\"log-time\",\"raw-message\"\n\"t\"," + csvQuote(a) + "\n\"t\"," + csvQuote(b) + "\n",
		"CSV, no header, tabs":        "1\t" + csvQuote(a) + "\n2\t" + csvQuote(b) + "\tmore\n",
		"CSV, Excel's separator":      "sep=;\r\n" + head(";") + row(";", "r1") + row(";", "r2"),
		"CSV, CR":                     strings.ReplaceAll(head(",")+row(",", "r1")+row(",", "r2"), "\r\n", "\r"),
		"database":                    strings.NewReplacer("eventName", "event_name", "eventSource", "event_source", "requestID", "request_id", "userIdentity", "user_identity", "eventID", "event_id", "eventTime", "event_time", "sourceIPAddress", "source_ip_address", "userAgent", "user_agent").Replace("[" + both + "]"),
		"deeply wrapped":              strings.Repeat(`{"a":[`, 8) + both + strings.Repeat(`]}`, 8),
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, text := range shapes() {
		var got []Record
		n, err := Read(strings.NewReader(text), func(r Record) { got = append(got, r) })
		if err != nil || n != 2 || len(got) != 2 {
			t.Errorf("%s: %d records, %v", name, n, err)
			continue
		}
		slices.SortFunc(got, func(a, b Record) int { return strings.Compare(a.RequestID, b.RequestID) })
		for i, request := range []string{"r1", "r2"} {
			want := Record{at, role, "ec2-instance-connect.amazonaws.com", "SendSSHPublicKey", "192.0.2.1", "aws-cli/2 (a, b)", "", request, "e-" + request}
			if got[i] != want {
				t.Errorf("%s:\ngot  %+v\nwant %+v", name, got[i], want)
			}
		}
	}
}

func TestNoRecords(t *testing.T) {
	t.Parallel()
	records := `{"Records":[` + record("r1") + `]}`
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", "it is empty"},
		"blanks":             {" \r\n", "it is empty"},
		"empty list":         {`{"Records":[]}`, "holds no CloudTrail record"},
		"other JSON":         {`{"Reservations":[{"Instances":[{"InstanceId":"i-1"}]}]}`, "holds no CloudTrail record"},
		"no list":            {`{"Records":{}}`, "holds no CloudTrail record"},
		"other fields":       {`{"Records":[{"eventSource":{},"eventName":{}}]}`, "holds no CloudTrail record"},
		"text":               {"nothing\nto see\n", "neither JSON nor CSV"},
		"numbers":            {"1 2 3", "neither JSON nor CSV"},
		"S3 list-objects":    {`{"Contents":[{"Key":"AWSLogs/1/CloudTrail/x.json.gz","LastModified":"t","ETag":"\"e\"","Size":1}],"RequestCharged":null}`, "aws s3 cp"},
		"S3 versions":        {`{"Versions":[{"ETag":"e","Size":1,"Key":"k","VersionId":"v"}]}`, "aws s3 cp"},
		"S3 listing":         {"2026-03-01 12:00:00       1234 AWSLogs/1/CloudTrail/eu-central-1/x.json.gz\n", "aws s3 cp"},
		"S3 names":           {"s3://bucket/trail/x\n", "aws s3 cp"},
		"S3 text":            {"CONTENTS\t\"e\"\tAWSLogs/1/x.json.gz\t2026\t1\tSTANDARD\n", "aws s3 cp"},
		"S3 notification":    {`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`, "aws s3 cp"},
		"CloudTrail's topic": {`{"s3Bucket":"b","s3ObjectKey":["AWSLogs/1/x.json.gz"]}`, "aws s3 cp"},
		"S3 by EventBridge":  {`{"detail-type":"Object Created","source":"aws.s3","detail":{"bucket":{"name":"b"},"object":{"key":"k","size":1}}}`, "aws s3 cp"},
		"digest":             {`{"awsAccountId":"1","digestStartTime":"t","digestS3Object":"o","logFiles":[{"s3Bucket":"b","s3Object":"o"}]}`, "digest"},
		"zip":                {"PK\x03\x04....", "a zip archive"},
		"Parquet":            {"PAR1....", "a Parquet file"},
		"cut off":            {records[:len(records)-10], "ends in the middle"},
		"cut off, gzip":      {pack(records)[:len(pack(records))-10], "ends in the middle"},
		"cut off, line":      {"2026 stream " + record("r1")[:200] + "\n", "cut short"},
		"cut off, text":      {`{"Events":[{"CloudTrailEvent":` + quote(record("r1")[:300]) + `}]}`, "cut short"},
		"damaged":            {`{"Records":[}`, "not JSON from byte"},
		"broken data":        {`{"awslogs":{"data":"H4sIAAAA"}}`, "subscription data is broken"},
		"tar":                {"a.json.gz" + strings.Repeat("\x00", 248) + "ustar\x0000" + strings.Repeat("\x00", 300), "a tar archive: extract it"},
		"zstd":               {"\x28\xb5\x2f\xfd....", "compressed with zstd: decompress it first"},
		"S3 inventory":       {"\"my-bucket\",\"AWSLogs/1/CloudTrail/eu/x.json.gz\",\"1\"\n", "aws s3 cp"},
		"Python":             {"[{'Events': [{'CloudTrailEvent': '" + record("r1") + "'}]}]", "json.dumps"},
		"cut off, next line": {"2026 stream " + record("r1")[:200] + "\n2026 stream " + record("r2") + "\n", "cut short"},
		"cut off, no base64": {"H4sIAAAA\nAAAA\n", "subscription data is broken"},
		"CSV of others":      {"eventname,eventsource\nObjectCreated,aws:s3\n", "holds no CloudTrail record"},
		"CSV, uneven":        {"eventname,eventsource\na\n", "not CSV"},
	} {
		_, err := Read(strings.NewReader(c.text), func(Record) {})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	deep := strings.Repeat(`{"a":[`, 40) + record("r1") + strings.Repeat(`]}`, 40)
	if n, err := Read(strings.NewReader(deep), func(Record) {}); err == nil || n != 0 {
		t.Errorf("too deep: %d records, %v", n, err)
	}
}

// Rows of a query have only the columns that it names.
func TestPartialRows(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Lake":     `{"QueryResultRows":[[{"requestID":"r1"},{"arn":"` + role + `"},{"eventName":"SendSSHPublicKey"}]]}`,
		"Insights": `{"results":[[{"field":"requestID","value":"r1"},{"field":"userIdentity.arn","value":"` + role + `"},{"field":"eventName","value":"SendSSHPublicKey"}]]}`,
		"CSV":      "requestid,arn,eventname\nr1," + role + ",SendSSHPublicKey\n",
		"identity": `{"eventName":"SendSSHPublicKey","requestID":"r1","userIdentity":` + quote(`{"type":"AssumedRole","arn":"`+role+`"}`) + `}`,
		"Athena":   `{"ResultSet":{"Rows":[{"Data":[{"VarCharValue":"requestid"},{"VarCharValue":"arn"},{"VarCharValue":"event_name"},{}]},{"Data":[{"VarCharValue":"r1"},{"VarCharValue":"` + role + `"},{"VarCharValue":"SendSSHPublicKey"},{}]}]}}`,
		"Athena 2": `{"ResultSet":{"Rows":[{"Data":[{"VarCharValue":"r1"},{"VarCharValue":"` + role + `"},{"VarCharValue":"SendSSHPublicKey"}]}],"ResultSetMetadata":{"ColumnInfo":[{"Name":"requestid"},{"Name":"arn"},{"Name":"eventname"}]}}}`,
		"console":  "Event name,Request ID,userIdentity.arn\nSendSSHPublicKey,r1," + role + "\n",
	} {
		var got []Record
		if _, err := Read(strings.NewReader(text), func(r Record) { got = append(got, r) }); err != nil || len(got) != 1 ||
			got[0] != (Record{RequestID: "r1", Principal: role, Name: "SendSSHPublicKey"}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-03-01T12:00:00Z": at, "2026-03-01T13:00:00+01:00": at, "2026-03-01 12:00:00.000": at, "2026-03-01 12:00:00": at,
		"1772366400": at, "1772366400.0": at, "1772366400000": at, "": {}, "soon": {}, "-1": {}, "1e300": {},
	} {
		if got := asTime(text); !got.Equal(want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range shapes() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		seen := 0
		n, err := Read(bytes.NewReader(text), func(Record) { seen++ })
		if n != seen || n == 0 && err == nil {
			t.Errorf("%d records, %d seen, %v", n, seen, err)
		}
	})
}

// TestWrapped wraps two records in what carries them, in any order, as deep as carriers
// are: none is lost.
func TestWrapped(t *testing.T) {
	t.Parallel()
	indented := func(text string) string {
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
			panic(err)
		}
		return b.String()
	}
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	// Of JSON, they make JSON.
	inside := []func(string) string{
		func(v string) string {
			return `{"version":"0","detail-type":"AWS API Call via CloudTrail","detail":` + v + `}`
		},
		func(v string) string { return `{"Type":"Notification","Message":` + quote(v) + `}` },
		func(v string) string { return `{"Messages":[{"MessageId":"1","Body":` + quote(v) + `}]}` },
		func(v string) string { return `{"Records":[{"kinesis":{"data":"` + encode(v) + `"}}]}` },
		func(v string) string { return `{"awslogs":{"data":"` + encode(pack(v)) + `"}}` },
		func(v string) string {
			return `{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1","timestamp":1,"message":` + quote(v) + `}]}`
		},
		func(v string) string { return `{"events":[{"timestamp":1,"message":` + quote(v) + `}]}` },
		func(v string) string {
			return `{"results":[[{"field":"@ptr","value":"p"},{"field":"@message","value":` + quote(v) + `}]]}`
		},
		func(v string) string { return `{"Events":[{"EventId":"x","CloudTrailEvent":` + quote(v) + `}]}` },
		func(v string) string { return "[" + v + "]" },
		indented, quote,
	}
	// Of JSON, they make a file.
	outside := []func(string) string{
		func(v string) string { return v },
		func(v string) string { return v + "\n" },
		func(v string) string { return "warning: something\n" + v + "\n" },
		func(v string) string { return "2026-03-01T12:00:00Z stream " + v + "\n" },
		func(v string) string { return "@timestamp,@message\nt,\"" + strings.ReplaceAll(v, `"`, `""`) + "\"\n" },
		func(v string) string { return "when;what\nt;\"" + strings.ReplaceAll(v, `"`, `""`) + "\"\n" },
		encode,
		func(v string) string { return regexp.MustCompile(`.{76}`).ReplaceAllString(encode(pack(v)), "$0\n") },
	}
	bytesOf := []func(string) string{
		func(v string) string { return v }, pack, func(v string) string { return pack(pack(v)) }, func(v string) string { return "\ufeff" + v },
		func(v string) string { return utf16Text(binary.LittleEndian, "\ufeff"+v) }, func(v string) string { return pack(utf16Text(binary.BigEndian, "\ufeff"+v)) },
		func(v string) string { return strings.ReplaceAll(v, "\n", "\r\n") },
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		text, path := `[`+record("r1")+`,`+record("r2")+`]`, []int{}
		for range r.IntN(4) {
			i := r.IntN(len(inside))
			text, path = inside[i](text), append(path, i)
		}
		if text[0] == '"' {
			text = "[" + text + "]" // lines of text are of JSON objects and lists
		}
		o, b := r.IntN(len(outside)), r.IntN(len(bytesOf))
		n, err := Read(strings.NewReader(bytesOf[b](outside[o](text))), func(Record) {})
		if n != 2 || err != nil {
			t.Errorf("wrapped by %v, %d and %d: %d records, %v", path, o, b, n, err)
		}
	}
}
