package api

import (
	"net/http"

	"github.com/eic-agent/eic-agent/internal/emulator/sigv4"
)

// Words are the names that a service has for errors that all services know.
type Words struct {
	Fault     string // a fault of ours
	Invalid   string // a request that is wrong in itself
	Throttled *Error
	Denied    func(message string) *Error
	Signature func(*sigv4.Error) *Error
}

// JSONWords are the names of the JSON services.
func JSONWords() Words {
	return Words{
		Fault:     "ServiceException",
		Invalid:   "ValidationException",
		Throttled: ClientError("ThrottlingException", "Rate exceeded"),
		Denied:    func(message string) *Error { return ClientError("AccessDeniedException", "%s", message) },
		Signature: jsonSignatureError,
	}
}

// EC2Words are the names of EC2.
func EC2Words() Words {
	return Words{
		Fault:     "InternalError",
		Invalid:   "InvalidRequest",
		Throttled: &Error{http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded."},
		Denied: func(message string) *Error {
			return &Error{http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. " + message}
		},
		Signature: ec2SignatureError,
	}
}

// QueryWords are the names of the other services of the query protocol.
func QueryWords() Words {
	return Words{
		Fault:     "InternalFailure",
		Invalid:   "ValidationError",
		Throttled: ClientError("Throttling", "Rate exceeded"),
		Denied:    func(message string) *Error { return &Error{http.StatusForbidden, "AccessDenied", message} },
		Signature: querySignatureError,
	}
}

// querySignatureError names a fault as STS does.
func querySignatureError(e *sigv4.Error) *Error {
	code := "SignatureDoesNotMatch"
	switch e.Fault {
	case sigv4.Missing:
		code = "MissingAuthenticationToken"
	case sigv4.Incomplete:
		return ClientError("IncompleteSignature", "%s", e.Message)
	case sigv4.UnknownKey:
		code = "InvalidClientTokenId"
	case sigv4.ExpiredToken:
		code = "ExpiredToken"
	}
	return &Error{http.StatusForbidden, code, e.Message}
}

// jsonSignatureError names a fault as the JSON services do.
func jsonSignatureError(e *sigv4.Error) *Error {
	switch e.Fault {
	case sigv4.Missing:
		return ClientError("MissingAuthenticationTokenException", "%s", e.Message)
	case sigv4.Incomplete:
		return ClientError("IncompleteSignatureException", "%s", e.Message)
	case sigv4.UnknownKey:
		return ClientError("UnrecognizedClientException", "%s", e.Message)
	case sigv4.ExpiredToken:
		return ClientError("ExpiredTokenException", "%s", e.Message)
	}
	return ClientError("InvalidSignatureException", "%s", e.Message)
}

// ec2SignatureError names a fault as EC2 does, which has one name, and one
// sentence, for most of them.
func ec2SignatureError(e *sigv4.Error) *Error {
	switch e.Fault {
	case sigv4.Missing:
		return &Error{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	case sigv4.Incomplete:
		return ClientError("IncompleteSignature", "%s", e.Message)
	case sigv4.Expired, sigv4.ExpiredToken:
		return ClientError("RequestExpired", "Request has expired.")
	}
	return &Error{http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"}
}
