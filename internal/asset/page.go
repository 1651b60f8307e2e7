package asset

// Page is one page of a walk over a cloud's listings that is not over: what a walk that was cut goes on behind.
type Page struct {
	Cloud   string
	Account string // by whom it was asked: another may be shown other rows
	Listing string // of which listing
	Number  int    // from 0, in the order in which they were asked for
	Began   int64  // µs, of the walk
	At      int64  // µs, when it was kept
	Said    int64  // µs, by the service's own clock; 0: it did not say
	Marker  string // the row behind which the next page begins
	Done    bool   // there is no next page
	Rows    []byte // JSON, of what we take of the rows and of nothing else
}
