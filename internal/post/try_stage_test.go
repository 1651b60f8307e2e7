package post

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
)

// What a relay did wrong is told by what it was, not by a word that its error happens to hold.
func TestTheStageOfATrial(t *testing.T) {
	stranger := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for name, x := range map[string]struct {
		connected bool
		err       error
		want      Stage
	}{
		"nobody answers":         {false, errors.New("connection refused"), Reached},
		"a stranger's signature": {true, fmt.Errorf("dial: %w", stranger), Secured},
		"no STARTTLS":            {true, errors.New("target host does not support STARTTLS"), Secured},
		"a wrong password":       {true, errors.New("SMTP AUTH failed: 535"), LoggedIn},
	} {
		if got := stageOf(x.connected, x.err); got != x.want {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}
