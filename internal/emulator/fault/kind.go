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
		rule(Latency, "DURATION", "The response is delayed by DURATION.", CheckDuration),
		rule(Jitter, "DURATION", "The response is delayed by a random time up to DURATION, seeded by --seed.", CheckDuration),
		rule(Status, "CODE", "The response has this HTTP status, with the error page or body of the service.", checkStatus),
		rule(Throttle, "N", "More than N requests per second are refused: 429, or the service's own exception.", checkCount),
		rule(CutOff, "", "The connection ends after half of the body.", nil),
		rule(Drip, "DURATION", "The body is sent byte by byte, DURATION apart.", CheckDuration),
		rule(Endless, "", "The body does not end.", nil),
		rule(Reset, "", "The connection is reset.", nil),
		rule(Hang, "", "There is no response.", nil),
		rule(Empty, "", "The body is empty; the status is unchanged.", nil),
		rule(HTML, "", "The response is 200 with the sign-in page of a captive portal.", nil),
		rule(Redirect, "", "The response is a redirect to a closed port.", nil),
	}
}

// CheckDuration admits durations that are not negative.
func CheckDuration(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration, such as 250ms", text)
	}
	return nil
}

// CheckOffset admits durations of either sign.
func CheckOffset(text string) error {
	if _, err := time.ParseDuration(text); err != nil {
		return fmt.Errorf("%q is not a duration, such as -90s", text)
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
		return fmt.Errorf("%q is not a status, such as 503", text)
	}
	return nil
}

func checkCount(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return fmt.Errorf("%q is not a number, such as 10", text)
	}
	return nil
}
