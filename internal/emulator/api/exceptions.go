package api

import "net/http"

// Exception returns an exception by its name. One that is not known here gets
// status 400.
func Exception(name string) *Error {
	for _, e := range []Error{
		{http.StatusBadRequest, "AuthException", "Either your AWS credentials are not valid or you do not have access to the EC2 instance."},
		{http.StatusBadRequest, "InvalidArgsException", "One of the parameters is not valid."},
		{http.StatusBadRequest, "EC2InstanceNotFoundException", "The specified instance was not found."},
		{http.StatusBadRequest, "EC2InstanceStateInvalidException", "Unable to connect because the instance is not in a valid state. Connecting to a stopped or terminated instance is not supported. If the instance is stopped, start your instance, and try to connect again."},
		{http.StatusBadRequest, "EC2InstanceTypeInvalidException", "The instance type is not supported for connecting via the serial console. Only Nitro instance types are currently supported."},
		{http.StatusBadRequest, "EC2InstanceUnavailableException", "The instance is currently unavailable. Wait a few minutes and try again."},
		{http.StatusBadRequest, "SerialConsoleAccessDisabledException", "Your account is not authorized to use the EC2 Serial Console. To authorize your account, run the EnableSerialConsoleAccess API."},
		{http.StatusBadRequest, "SerialConsoleSessionLimitExceededException", "The instance currently has 1 active serial console session. Only 1 session is supported at a time."},
		{http.StatusInternalServerError, "SerialConsoleSessionUnavailableException", "Unable to start a serial console session. Please try again."},
		{http.StatusBadRequest, "SerialConsoleSessionUnsupportedException", "Your instance's BIOS version is unsupported for serial console connection. Reboot your instance to update its BIOS, and then try again to connect."},
		{http.StatusBadRequest, "ThrottlingException", "The requests were made too frequently and have been throttled. Wait a while and try again."},
		{http.StatusInternalServerError, "ServiceException", "The service encountered an error. Follow the instructions in the error message and try again."},

		{http.StatusBadRequest, "AccessDeniedException", "You do not have sufficient access to perform this action."},
		{http.StatusBadRequest, "AccountSetupInProgressException", "Your account is still being set up. Try again in a few minutes."},
		{http.StatusBadRequest, "RegionSetupInProgressException", "Your account is still being set up in this Region. Try again in a few minutes."},
		{http.StatusBadRequest, "OperationFailureException", "The operation failed."},
		{http.StatusBadRequest, "UnauthenticatedException", "The request is not authenticated."},

		{http.StatusInternalServerError, "InternalError", "An internal error has occurred"},
		{http.StatusServiceUnavailable, "Unavailable", "The server is overloaded and can't handle the request."},
		{http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."},
		{http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded."},
		{http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation."},
		{http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"},
	} {
		if e.Code == name {
			return &e
		}
	}
	return ClientError(name, "Returned by a fault of the emulator.")
}
