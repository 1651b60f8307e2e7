// Package fault holds errors a user can act on: what is wrong, where, and what to do.
//
// An error that is not a Fault is ours: it is logged and shown as an internal error.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Code names a kind of fault; it is stable and part of the JSON a user's script reads.
type Code string

// The codes, and the exit status each leads to.
const (
	Usage       Code = "usage"       // the command line is off: exit 2
	Config      Code = "config"      // a file the operator wrote is off: exit 2
	NotFound    Code = "not_found"   // the thing named does not exist: exit 2
	Refused     Code = "refused"     // a safety rule forbids it: exit 2
	Conflict    Code = "conflict"    // somebody else changed it meanwhile: exit 3
	Unavailable Code = "unavailable" // a peer did not answer: exit 3
	CannotLook  Code = "cannot_look" // the question could not be asked: exit 3
	Violation   Code = "violation"   // the question was asked and the answer is no: exit 1
)

// Position is a place in a file the user wrote. The zero value is nowhere.
type Position struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"column,omitempty"`
}

func (p Position) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
}

// Fault is an error with a remedy.
type Fault struct {
	Code    Code     `json:"code"`
	Message string   `json:"message"`        // what is wrong, one sentence
	Hint    string   `json:"hint,omitempty"` // what to do about it
	At      Position `json:"at,omitzero"`
	Cause   error    `json:"-"`
}

// New makes a fault from its message.
func New(code Code, format string, args ...any) *Fault {
	err := fmt.Errorf(format, args...)
	return &Fault{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Hinted returns the fault with advice.
func (f *Fault) Hinted(format string, args ...any) *Fault {
	g := *f
	g.Hint = fmt.Sprintf(format, args...)
	return &g
}

// In returns the fault with its place.
func (f *Fault) In(at Position) *Fault {
	g := *f
	g.At = at
	return &g
}

func (f *Fault) Error() string {
	var b strings.Builder
	if at := f.At.String(); at != "" {
		b.WriteString(at + ": ")
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	return b.String()
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// Of finds the fault in a chain of errors.
func Of(err error) (*Fault, bool) {
	var f *Fault
	ok := errors.As(err, &f)
	return f, ok
}

// Is tells whether the chain holds a fault of this code.
func Is(err error, code Code) bool {
	f, ok := Of(err)
	return ok && f.Code == code
}

// Exit is the process exit status for an error: 0 none, 1 violation, 2 usage, 3 could not look.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	f, ok := Of(err)
	if !ok {
		return 3
	}
	switch f.Code {
	case Violation:
		return 1
	case Usage, Config, NotFound, Refused:
		return 2
	case Conflict, Unavailable, CannotLook:
		return 3
	}
	return 3
}
