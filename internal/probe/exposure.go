package probe

// Exposure is an interval in which an endpoint was open to a vantage point with the same facts. ClosedAt 0 means it
// still is, as far as the coverage reaches: when it was last seen follows from the coverage, so that an
// unchanged endpoint costs no write.
type Exposure struct {
	ID       string   `json:"id"`
	Vantage  string   `json:"vantage"`
	Endpoint Endpoint `json:"endpoint"`
	OpenedAt int64    `json:"opened_at"`
	ClosedAt int64    `json:"closed_at,omitempty"`
	Facts    string   `json:"facts"`  // hash
	Config   string   `json:"config"` // what the cloud's rules said: open, scanner_only, denied, unsure, unheld
}
