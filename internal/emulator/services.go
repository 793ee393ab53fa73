package emulator

import (
	"net/http"

	"github.com/eic-agent/eic-agent/internal/emulator/sigv4"
)

// The services, by their signing names.
const (
	eicName       = "ec2-instance-connect"
	ec2Name       = "ec2"
	lightsailName = "lightsail"
)

// words are the names that a service has for errors that all services know.
type words struct {
	fault     string // a fault of ours
	invalid   string // a request that is wrong in itself
	throttled *apiError
	denied    func(message string) *apiError
	signature func(*sigv4.Error) *apiError
}

// newServices returns the services by their names.
func newServices() map[string]*service {
	json := words{
		fault:     "ServiceException",
		invalid:   "ValidationException",
		throttled: clientError("ThrottlingException", "Rate exceeded"),
		denied:    func(message string) *apiError { return clientError("AccessDeniedException", "%s", message) },
		signature: jsonSignatureError,
	}
	query := words{
		fault:     "InternalError",
		invalid:   "InvalidRequest",
		throttled: &apiError{http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded."},
		denied: func(message string) *apiError {
			return &apiError{http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. " + message}
		},
		signature: querySignatureError,
	}
	return map[string]*service{
		eicName:       {eicName, "AWSEC2InstanceConnectService.", jsonProtocol{errorBody: eicErrorBody}, json},
		lightsailName: {lightsailName, "Lightsail_20161128.", jsonProtocol{errorBody: lightsailErrorBody}, json},
		ec2Name:       {ec2Name, "", queryProtocol{}, query},
	}
}

// jsonSignatureError names a fault as the JSON services do.
func jsonSignatureError(e *sigv4.Error) *apiError {
	switch e.Fault {
	case sigv4.Missing:
		return clientError("MissingAuthenticationTokenException", "%s", e.Message)
	case sigv4.Incomplete:
		return clientError("IncompleteSignatureException", "%s", e.Message)
	case sigv4.UnknownKey:
		return clientError("UnrecognizedClientException", "%s", e.Message)
	case sigv4.ExpiredToken:
		return clientError("ExpiredTokenException", "%s", e.Message)
	}
	return clientError("InvalidSignatureException", "%s", e.Message)
}

// querySignatureError names a fault as EC2 does, which has one name, and one
// sentence, for most of them.
func querySignatureError(e *sigv4.Error) *apiError {
	switch e.Fault {
	case sigv4.Missing:
		return &apiError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	case sigv4.Incomplete:
		return clientError("IncompleteSignature", "%s", e.Message)
	case sigv4.Expired, sigv4.ExpiredToken:
		return clientError("RequestExpired", "Request has expired.")
	}
	return &apiError{http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"}
}

// newOperations returns the operations by service and name, as IAM writes them.
func (s *Server) newOperations() map[string]*operation {
	all := make(map[string]*operation)
	add := func(service string, operations []operation) {
		for _, op := range operations {
			op.service = s.services[service]
			all[service+":"+op.name] = &op
		}
	}
	add(eicName, s.eicOperations())
	add(ec2Name, s.keyPairOperations())
	add(ec2Name, s.serialAccessOperations())
	add(ec2Name, s.instanceOperations())
	add(lightsailName, s.lightsailOperations())
	return all
}
