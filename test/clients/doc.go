// Package clients runs eic-emulator against clients that make test leaves out: the aws
// command of other Debian releases, cloud-init, and the AWS SDK for JavaScript. Its tests
// have the build tag clients; make test-clients runs them.
package clients
