package store

import (
	"context"
	"errors"
	"sync"
)

// holder is the lock of an engine.
type holder interface {
	held(ctx context.Context) error
	release() error
}

// Lease is held by the one running instance of a database. It ends with Release, with the process, and on a server with the
// connection that took it.
type Lease struct {
	lock holder
	once sync.Once
	err  error
}

// Lease makes this the running instance; while another is, that is a conflict which says who it is. What a person decides at
// the desk is written without it. ErrDiverged or ErrReplaced: the database is not the one that this process follows.
func (d *DB) Lease(ctx context.Context) (*Lease, error) {
	l, err := d.engine.lease(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.extends(ctx, d.read); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return &Lease{lock: l}, nil
}

// Held is nil while no other instance can be running, as far as can be told. After an error another may be: whoever works
// under the lease stops, and begins with a new one.
func (l *Lease) Held(ctx context.Context) error { return l.lock.held(ctx) }

// Release lets the next instance in. It may be called twice.
func (l *Lease) Release() error {
	l.once.Do(func() { l.err = l.lock.release() })
	return l.err
}

var errReleased = errors.New("the lease is over")
