package serve

import "golang.org/x/sys/unix"

// kept tells whether somebody keeps the machine's clock, as the kernel was told (adjtimex(2)). The second result tells whether the
// kernel says so at all.
func kept() (synchronised, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err == nil
}
