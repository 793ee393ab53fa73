package sessions

import (
	"encoding/json"
	"strconv"

	"github.com/eic-agent/eic-agent/internal/audit"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework whose class
// Authentication (3002) OCSF fills in: https://schema.ocsf.io/1.2.0/classes/authentication.
const ocsfVersion = "1.2.0"

// The numbers of OCSF.
const (
	ocsfIAM            = 3
	ocsfAuthentication = 3002
	ocsfLogon          = 1
	ocsfLogoff         = 2
	ocsfInformational  = 1
	ocsfSuccess        = 1
	ocsfInteractive    = 2
	ocsfOther          = 99
)

type ocsfEvent struct {
	ActivityID     int           `json:"activity_id"`
	ActivityName   string        `json:"activity_name"`
	CategoryUID    int           `json:"category_uid"`
	CategoryName   string        `json:"category_name"`
	ClassUID       int           `json:"class_uid"`
	ClassName      string        `json:"class_name"`
	TypeUID        int           `json:"type_uid"`
	TypeName       string        `json:"type_name"`
	Time           int64         `json:"time"` // milliseconds since 1970
	StartTime      int64         `json:"start_time"`
	EndTime        int64         `json:"end_time,omitempty"`
	SeverityID     int           `json:"severity_id"`
	Severity       string        `json:"severity"`
	StatusID       int           `json:"status_id"`
	Status         string        `json:"status"`
	StatusDetail   string        `json:"status_detail,omitempty"` // how the end is known, or why there was no key or why it would be refused
	Message        string        `json:"message"`
	AuthProtocolID int           `json:"auth_protocol_id"`
	AuthProtocol   string        `json:"auth_protocol"`
	LogonTypeID    int           `json:"logon_type_id"`
	LogonType      string        `json:"logon_type"`
	IsRemote       bool          `json:"is_remote"`
	IsMFA          bool          `json:"is_mfa"`
	User           ocsfUser      `json:"user"`
	Actor          *ocsfActor    `json:"actor,omitempty"`
	Source         *ocsfEndpoint `json:"src_endpoint,omitempty"`
	Destination    ocsfEndpoint  `json:"dst_endpoint"`
	Session        ocsfSession   `json:"session"`
	Metadata       ocsfMetadata  `json:"metadata"`
}

type ocsfUser struct {
	Name string `json:"name,omitempty"`
	UID  string `json:"uid,omitempty"`
	// CredentialUID is the key's fingerprint.
	CredentialUID string `json:"credential_uid,omitempty"`
}

type ocsfActor struct {
	User ocsfUser `json:"user"`
}

type ocsfEndpoint struct {
	IP          string `json:"ip,omitempty"`
	Port        int    `json:"port,omitempty"`
	Hostname    string `json:"hostname,omitempty"`
	UID         string `json:"uid,omitempty"`
	InstanceUID string `json:"instance_uid,omitempty"`
}

type ocsfSession struct {
	UID         string `json:"uid"`
	CreatedTime int64  `json:"created_time"`
	IsRemote    bool   `json:"is_remote"`
	Terminal    string `json:"terminal,omitempty"`
}

type ocsfMetadata struct {
	Version     string      `json:"version"`
	Product     ocsfProduct `json:"product"`
	Correlation string      `json:"correlation_uid,omitempty"` // the API request
	Code        string      `json:"event_code"`
	UID         string      `json:"uid"`
}

type ocsfProduct struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor_name"`
}

// OCSF returns the event of class Authentication for the beginning or the end of a
// session, audit.SessionOpened or audit.SessionClosed, as one line of JSON. It returns
// "" for an end whose time is not known: each event has a time.
func (s *Session) OCSF(kind audit.Kind) (string, error) {
	said := s.Event(kind)
	e := ocsfEvent{
		ActivityID: ocsfLogon, ActivityName: "Logon", CategoryUID: ocsfIAM, CategoryName: "Identity & Access Management",
		ClassUID: ocsfAuthentication, ClassName: "Authentication", Time: s.Start.UnixMilli(), StartTime: s.Start.UnixMilli(),
		SeverityID: ocsfInformational, Severity: "Informational", StatusID: ocsfSuccess, Status: "Success", StatusDetail: s.reason(), Message: said.Message,
		AuthProtocolID: ocsfOther, AuthProtocol: "SSH public key", LogonTypeID: ocsfOther, LogonType: "SSH", IsRemote: true,
		IsMFA:       s.Method != "" && !s.Console,
		User:        ocsfUser{Name: s.User, UID: s.User, CredentialUID: bare(s.key())},
		Destination: ocsfEndpoint{Hostname: s.Host, UID: s.Machine, InstanceUID: s.Instance},
		Session:     ocsfSession{UID: s.ID, CreatedTime: s.Start.UnixMilli(), IsRemote: true},
		Metadata: ocsfMetadata{
			Version: ocsfVersion, Product: ocsfProduct{"eic-agent", "eic-agent"}, Correlation: said.Request, Code: string(kind), UID: s.ID + "-" + string(kind),
		},
	}
	if kind == audit.SessionClosed {
		if s.End == nil {
			return "", nil
		}
		e.ActivityID, e.ActivityName, e.Time, e.EndTime, e.StatusDetail = ocsfLogoff, "Logoff", s.End.UnixMilli(), s.End.UnixMilli(), s.EndTold
	}
	e.TypeUID, e.TypeName = ocsfAuthentication*100+e.ActivityID, "Authentication: "+e.ActivityName
	if said.Caller != "" {
		e.Actor = &ocsfActor{ocsfUser{Name: said.Caller, UID: said.Caller}}
	}
	if s.Console {
		e.Session.Terminal = "serial port " + s.Port
		e.LogonTypeID, e.LogonType = ocsfInteractive, "Interactive"
		if s.User == "" {
			e.User.Name, e.User.UID = "unknown", ""
		}
	} else {
		port, _ := strconv.Atoi(s.Port)
		e.Source = &ocsfEndpoint{IP: s.Address, Port: port}
	}
	line, err := json.Marshal(e)
	return string(line) + "\n", err
}
