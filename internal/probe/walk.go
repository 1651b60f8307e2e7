package probe

// Walk says since which round of sweeps each wide run of ports is probed part by part from one vantage point. In each round one part of it
// is asked, so that after as many rounds as there are parts each port was.
type Walk struct {
	Parts int              `json:"parts"` // into which each run is divided
	Since map[string]int64 `json:"since"` // the first round, by run: address, protocol and ports, as in "192.0.2.7 tcp 1-65535"
}
