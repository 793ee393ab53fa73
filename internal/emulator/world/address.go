package world

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// FreeLoopbackPort is an address that binds a free port.
const FreeLoopbackPort = "127.0.0.1:0"

// ErrNotLoopback is in the error about an address that is permitted only where
// remote ones are.
var ErrNotLoopback = errors.New("is not a loopback address: the emulator has no access control")

// CheckAddress admits IP:PORT and localhost:PORT; remote also addresses that
// are not loopback, and :PORT for all of the machine's.
func CheckAddress(address string, remote bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not HOST:PORT", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("address %q has no port between 0 and 65535", address)
	}
	loopback := host == "localhost"
	if !loopback && host != "" {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return fmt.Errorf("address %q has neither an IP address nor localhost before its port", address)
		}
		loopback = ip.Unmap().IsLoopback()
	}
	if !loopback && !remote {
		return fmt.Errorf("address %q %w", address, ErrNotLoopback)
	}
	return nil
}

// HostPort returns the address of a listener. It names the loopback address for one
// on all addresses.
func HostPort(l net.Listener) string {
	address := l.Addr().(*net.TCPAddr)
	host := address.IP.String()
	if address.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(address.Port))
}
