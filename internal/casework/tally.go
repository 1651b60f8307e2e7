package casework

// Tally counts what went through the line so far. The counts of what belongs to projects are within the reader's scope;
// how much was looked at is everybody's.
type Tally struct {
	Machines int // that hold an address now
	Readings int // of the clouds
	Sweeps   int // runs of probes
	Sent     int
	Answered int
	Findings int
	Customer int // findings charged to the customer alone
	Provider int // and to the provider, alone or with the customer
	Cases    int
	Live     int // not over
	Mails    int // accepted by the next hop
	Waiting  int
	Looks    int // at findings
	Taken    int // quarantines that were done
	Returned int // restores that were done
}
