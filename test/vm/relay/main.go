// Relay joins its standard input and output to a TCP port: relay HOST:PORT.
// QEMU starts it for each connection of the guest to the metadata service.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := relay(); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func relay() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: relay HOST:PORT")
	}
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		return err
	}
	tcp := conn.(*net.TCPConn)
	go func() {
		io.Copy(tcp, os.Stdin)
		tcp.CloseWrite()
	}()
	// The far side ends the connection, as the metadata service does.
	_, err = io.Copy(os.Stdout, tcp)
	return err
}
