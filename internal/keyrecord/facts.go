package keyrecord

// Facts are the data of a record that its journal entry keeps: it has
// them.
type Facts struct {
	Expires int64 // Unix seconds
	Type    string
	Bits    int // of an RSA key, else 0
}

// CheckFacts says of a record that was well formed, had not expired at t.Now and was
// meant for this instance what Check returned then under these terms: nil or a
// *reason.Error. The filter in t is left alone.
func CheckFacts(f Facts, t Terms) error {
	if fault := t.checkEnd(f.Expires); fault != nil {
		return fault
	}
	if fault := checkType(f.Type, t.Types); fault != nil {
		return fault
	}
	if fault := checkSize(f.Bits, t.minRSABits()); fault != nil {
		return fault
	}
	return nil
}
