package serve

import (
	"context"
	"path/filepath"

	"demarc/internal/fault"
	"demarc/internal/store"
)

// DatabasePath is where the database is: the path of a file, or a URL.
func (c *Config) DatabasePath() string {
	if store.IsURL(c.Database) {
		return c.Database
	}
	return c.path(c.Database)
}

// HeadsPath is the file that keeps the audit log's heads outside the database.
func (c *Config) HeadsPath() string {
	switch {
	case c.AuditHeads != "":
		return c.path(c.AuditHeads)
	case store.IsURL(c.Database):
		return filepath.Join(c.dir, "demarc.heads")
	}
	return c.DatabasePath() + ".heads"
}

// Password is what the database's server asks for, to hand to the store.
func (c *Config) Password() store.Option { return store.WithPassword(c.dbPassword) }

// OpenDatabase opens the database for writing.
func (c *Config) OpenDatabase(ctx context.Context) (*store.DB, error) {
	return store.Open(ctx, c.DatabasePath(), c.Password(), store.WithHeads(store.HeadFile(c.HeadsPath())))
}

// database holds what the file says of it against what can be.
func (c *Config) database(at func(string, *fault.Fault) error) error {
	if !store.IsURL(c.Database) {
		if c.DBPassword != "" {
			return at("$.database_password_file", fault.New(fault.Config, "a SQLite file has no password").Hinted("take the line out, or write database: postgres://user@host/database"))
		}
		return nil
	}
	if f, ok := fault.Of(store.CheckURL(c.Database)); ok {
		return at("$.database", f)
	}
	return nil
}
