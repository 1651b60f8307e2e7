package openstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"demarc/internal/cloud"
	"demarc/internal/fault"
)

// bounded keeps an answer from filling the memory.
type bounded struct {
	next *http.Transport
	max  int64
	to   *hosts
}

// hosts are those that requests may go to. Until they are known, as before the catalog is read, every host may be asked.
type hosts struct {
	known atomic.Pointer[map[string]bool]
}

// only allows the hosts of some URLs, and no other from then on.
func (h *hosts) only(urls ...string) {
	known := map[string]bool{}
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil {
			known[u.Host] = true
		}
	}
	h.known.Store(&known)
}

func (h *hosts) allow(u *url.URL) bool {
	known := h.known.Load()
	return known == nil || (*known)[u.Host]
}

var errElsewhere = errors.New("the request would go to a host that the catalog does not name, and was not sent")

var errTooLarge = errors.New("the answer is too large")

// RoundTrip hands on, and bounds the body.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !b.to.allow(r.URL) {
		return nil, fmt.Errorf("%w: %s", errElsewhere, r.URL.Host)
	}
	res, err := b.next.RoundTrip(r)
	if err == nil {
		res.Body = &boundedBody{res.Body, b.max}
	}
	return res, err
}

// CloseIdleConnections lets http.Client's method of that name reach the transport.
func (b *bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// get reads one document, with bounded retries: reading again is harmless.
func (c *Cloud) get(ctx context.Context, s *gophercloud.ServiceClient, url string, into any) error {
	_, err := c.dated(ctx, s, url, into)
	return err
}

// dated reads one document as get does, and tells the service's own time (µs, in whole seconds), 0 where it did not say.
func (c *Cloud) dated(ctx context.Context, s *gophercloud.ServiceClient, url string, into any) (int64, error) {
	for try := 0; ; try++ {
		res, err := s.Get(ctx, url, into, &gophercloud.RequestOpts{OkCodes: []int{200}})
		if err == nil {
			return dateOf(res.Header), nil
		}
		wait, again := retryAfter(err, try)
		if !again || try >= c.conf.Retries || ctx.Err() != nil {
			return 0, c.explain(ctx, err)
		}
		select {
		case <-time.After(min(wait, c.conf.MaxWait)):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func dateOf(h http.Header) int64 {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t.UnixMicro()
	}
	return 0
}

// longestWait is the longest wait (s) that is taken at its word; a number beyond it could not even be kept.
const longestWait = 24 * 60 * 60

// retryAfter tells whether a reading is worth repeating, and when.
func retryAfter(err error, try int) (time.Duration, bool) {
	wait := 200 * time.Millisecond << min(try, 8)
	answer, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	if !ok {
		return wait, !errors.Is(err, errTooLarge) && !isReauth(err)
	}
	if answer.Actual != http.StatusTooManyRequests && answer.Actual < 500 {
		return 0, false
	}
	if s, err := strconv.Atoi(answer.ResponseHeader.Get("Retry-After")); err == nil && s >= 0 {
		wait = time.Duration(min(s, longestWait)) * time.Second
	} else if at, err := http.ParseTime(answer.ResponseHeader.Get("Retry-After")); err == nil {
		by := time.Now()
		if said := dateOf(answer.ResponseHeader); said > 0 {
			by = time.UnixMicro(said) // it is a time by the service's clock
		}
		wait = min(max(0, at.Sub(by)), longestWait*time.Second)
	}
	return wait, true
}

// isReauth tells whether the token was refused and there is no other. What went wrong after a new token was had is another
// matter: by then the request had been sent once more.
func isReauth(err error) bool {
	_, ok := errors.AsType[*gophercloud.ErrUnableToReauthenticate](err)
	return ok
}

// explain makes an error ours. What the cloud wrote is a stranger's text; what we sent stays out of it.
func (c *Cloud) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	answer, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	if !ok {
		return fault.New(fault.Unavailable, "cloud %s: %s", c.conf.Cloud, c.conf.shown(err.Error()))
	}
	what := fmt.Sprintf("%s %s: HTTP %d: %s", answer.Method, pathOf(answer.URL), answer.Actual, c.conf.shown(string(answer.Body)))
	switch answer.Actual {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", cloud.ErrNotFound, what)
	case http.StatusUnauthorized, http.StatusForbidden:
		f := fault.New(fault.Unavailable, "cloud %s refuses the account: %s", c.conf.Cloud, what).
			Hinted("check the account's roles and the credential's access rules")
		if answer.Actual == http.StatusForbidden {
			f.Cause = errRefused
		}
		return f
	case http.StatusConflict:
		return fault.New(fault.Conflict, "cloud %s: %s", c.conf.Cloud, what)
	case http.StatusBadRequest:
		return fault.New(fault.Refused, "cloud %s: %s", c.conf.Cloud, what)
	}
	return fault.New(fault.Unavailable, "cloud %s: %s", c.conf.Cloud, what)
}

func pathOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "?"
	}
	return u.Path
}

// change sends one changing request, once. An answer that does not prove what happened is an unknown outcome.
func (c *Cloud) change(ctx context.Context, s *gophercloud.ServiceClient, method, url string, opts *gophercloud.RequestOpts) error {
	_, err := s.Request(ctx, method, url, opts)
	if err == nil {
		return nil
	}
	answer, ok := errors.AsType[gophercloud.ErrUnexpectedResponseCode](err)
	switch {
	case ok && answer.Actual == http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", pathOf(url), cloud.ErrStale)
	case ok && answer.Actual >= 400 && answer.Actual < 500: // neither a redirect nor another 2xx proves anything
		return c.explain(ctx, err)
	case !ok && neverLeft(err):
		return c.explain(ctx, err)
	}
	// The cause is told, and not wrapped: a caller that looks for a context's end must not take this for a
	// request that was not made.
	return fmt.Errorf("%s %s: %w: %s", method, pathOf(url), cloud.ErrUnknownOutcome, c.conf.shown(err.Error()))
}

// neverLeft tells whether a request certainly did not reach the cloud.
func neverLeft(err error) bool {
	if isReauth(err) {
		return true // the first answer was 401
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
