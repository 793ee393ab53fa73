package fault

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Where faults strike.
const (
	LayerExchange = "exchange" // any request to either service
	LayerAPI      = "api"      // a call of an operation
	LayerFact     = "metadata" // a fact that the metadata service gives
	LayerRecord   = "record"   // the records of a user
	LayerSigner   = "signer"   // the chain and the staples
	LayerClock    = "clock"
	LayerGateway  = "gateway" // a client of the serial console gateway
)

// A Kind is a fault that can be ordered.
type Kind struct {
	Name  string
	Value string // what it takes, such as DURATION; empty: nothing
	Layer string // where it strikes
	Doc   string // one sentence
}

// A Rule says what an order of a kind may look like.
type Rule struct {
	Kind

	// Check says what is wrong with a value. Nil means that there must be none.
	Check func(value string) error

	// Fact means that a fact of the metadata service changes, whatever the layer.
	Fact bool

	// Staple means that an order can be restricted to a certificate.
	Staple bool
}

// Exchanges returns the faults that Transport does.
func Exchanges() []Rule {
	rule := func(name, value, doc string, check func(string) error) Rule {
		return Rule{Kind: Kind{name, value, LayerExchange, doc}, Check: check}
	}
	return []Rule{
		rule(Latency, "DURATION", "The answer comes so much later.", CheckDuration),
		rule(Jitter, "DURATION", "The answer comes later by up to so much, at random from --seed.", CheckDuration),
		rule(Status, "CODE", "The answer is this HTTP status, with the error page or body of the service.", checkStatus),
		rule(Throttle, "N", "More than N requests in a second are refused: 429, or the service's own exception.", checkCount),
		rule(CutOff, "", "The connection ends after half of the body.", nil),
		rule(Drip, "DURATION", "The body comes byte by byte, so far apart.", CheckDuration),
		rule(Endless, "", "The body does not end.", nil),
		rule(Reset, "", "The connection is reset.", nil),
		rule(Hang, "", "There is no answer for as long as the client waits.", nil),
		rule(Empty, "", "The body is empty, with the status that it would have had.", nil),
		rule(HTML, "", "The answer is 200 and a page that asks to sign in to the network.", nil),
		rule(Redirect, "", "The answer is a redirect to a port where nobody listens.", nil),
	}
}

// CheckDuration admits durations that are not negative.
func CheckDuration(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not one, such as 250ms", text)
	}
	return nil
}

// CheckOffset admits durations of either sign.
func CheckOffset(text string) error {
	if _, err := time.ParseDuration(text); err != nil {
		return fmt.Errorf("%q is not one, such as -90s", text)
	}
	return nil
}

// CheckText admits every text but the empty one.
func CheckText(text string) error {
	if text == "" {
		return errors.New("it cannot be empty")
	}
	return nil
}

func checkStatus(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 200 || n > 599 {
		return fmt.Errorf("%q is not one, such as 503", text)
	}
	return nil
}

func checkCount(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return fmt.Errorf("%q is not one, such as 10", text)
	}
	return nil
}
