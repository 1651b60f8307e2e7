-- The whole database, SQLite. Times are µs since 1970 UTC. A body is JSON; the columns beside it are what is searched
-- or guarded. The other engine's file says the same in its own words, and a test holds the two together. Until the first
-- release this file is edited in place.

CREATE TABLE meta (                 -- what there is one of
  -- clock           policy time of the last commit, µs
  -- commits         on PostgreSQL: how many commits there were, and the marks of the last of them, the newest first
  -- anchor          where the clock stood when it was last written, JSON
  -- paused          "false", or no row: enforcement runs; every other value: it is paused
  -- mode            the mode that the operators chose; without it, and with any other word: observe
  -- mode_applied    the mode that the pipeline worked in last
  -- proofs_from     policy time from which on looks prove anything, µs
  -- audit_head      the last head of the audit log, JSON
  -- nova:CLOUD      since when changed servers are asked for, by Nova's clock, µs
  -- reach:VANTAGE   what the vantage point could ask when its queue was last worked out, SHA-256 in hex
  -- leftovers:CLOUD what of ours stands there and no action in force explains, JSON
  -- clear:ID        a person's decision to end that, JSON
  -- blocks:VANTAGE  since when the vantage point probes each netblock, policy time, µs, JSON
  -- walk:VANTAGE    since which round of sweeps the vantage point probes each wide run of ports part by part, JSON
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE object (               -- what the clouds hold, by valid time; valid_to 0 is "still"
  id         INTEGER PRIMARY KEY,
  cloud      TEXT    NOT NULL,
  kind       TEXT    NOT NULL,      -- project, user, grant, image, server, network, subnet, router, port, fip, group, address_set, trunk, load_balancer, firewall, link, rbac, default_rule
  object     TEXT    NOT NULL,
  hash       TEXT    NOT NULL,
  body       TEXT    NOT NULL,
  valid_from INTEGER NOT NULL,
  valid_to   INTEGER NOT NULL DEFAULT 0,
  missing    INTEGER NOT NULL DEFAULT 0,   -- complete snapshots in a row without it; at 2 it is gone
  stale      INTEGER NOT NULL DEFAULT 0,   -- whole readings in a row at an earlier revision; at 2 they are believed
  CHECK (valid_to = 0 OR valid_to >= valid_from)
);
CREATE UNIQUE INDEX object_now ON object (cloud, kind, object) WHERE valid_to = 0;
CREATE INDEX object_then ON object (cloud, valid_from, valid_to);
CREATE INDEX object_ended ON object (cloud, kind, valid_to);

CREATE TABLE binding (              -- who held an address when; known_at is when we learnt it
  id         TEXT PRIMARY KEY,
  cloud      TEXT NOT NULL,
  scope      TEXT NOT NULL,
  addr       BLOB NOT NULL,         -- 4 or 16 bytes
  port       TEXT NOT NULL,
  server     TEXT NOT NULL,
  project    TEXT NOT NULL,
  fip        TEXT NOT NULL,
  shared     INTEGER NOT NULL,
  valid_from INTEGER NOT NULL,
  valid_to   INTEGER NOT NULL DEFAULT 0,
  known_at   INTEGER NOT NULL,
  end_known_at INTEGER NOT NULL DEFAULT 0, -- when we learnt that it ended
  source     TEXT NOT NULL,
  CHECK (valid_to = 0 OR valid_to >= valid_from)
);
CREATE UNIQUE INDEX binding_now ON binding (cloud, scope, addr, port) WHERE valid_to = 0;
CREATE INDEX binding_then ON binding (addr, valid_from, valid_to);

CREATE TABLE coverage (             -- what was looked at when; the only rows an unchanged sweep writes
  id       INTEGER PRIMARY KEY,
  kind     TEXT NOT NULL,           -- inventory, recent, sweep
  cloud    TEXT NOT NULL,
  vantage  TEXT NOT NULL,
  purpose  TEXT NOT NULL,
  cycle    INTEGER NOT NULL,
  began    INTEGER NOT NULL,
  ended    INTEGER NOT NULL,
  took     INTEGER NOT NULL,      -- µs spent on a whole reading: it may have been cut and gone on; 0: from began to ended
  real_at  INTEGER NOT NULL,
  complete INTEGER NOT NULL,
  sent     INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  open     INTEGER NOT NULL,
  note     TEXT NOT NULL
);
CREATE INDEX coverage_last ON coverage (kind, cloud, vantage, purpose, ended);

CREATE TABLE reading (              -- pages of a walk over a cloud that is not over; they go with the commit of its snapshot
  id      INTEGER PRIMARY KEY,
  cloud   TEXT NOT NULL,
  account TEXT NOT NULL,            -- who asked
  listing TEXT NOT NULL,
  page    INTEGER NOT NULL,         -- from 0
  began   INTEGER NOT NULL,         -- of the walk
  at      INTEGER NOT NULL,
  said    INTEGER NOT NULL,         -- by the service's clock
  marker  TEXT NOT NULL,
  done    INTEGER NOT NULL,
  body    TEXT NOT NULL
);
CREATE UNIQUE INDEX reading_page ON reading (cloud, listing, page);

CREATE TABLE fact (                 -- what endpoints showed, by content
  hash TEXT PRIMARY KEY,
  body TEXT NOT NULL
);

CREATE TABLE exposure (             -- intervals in which an endpoint was open with the same facts
  id        TEXT PRIMARY KEY,
  vantage   TEXT NOT NULL,
  addr      BLOB NOT NULL,
  proto     TEXT NOT NULL,
  port      INTEGER NOT NULL,
  opened_at INTEGER NOT NULL,
  closed_at INTEGER NOT NULL DEFAULT 0,
  fact      TEXT NOT NULL REFERENCES fact (hash),
  config    TEXT NOT NULL CHECK (config IN ('open', 'scanner_only', 'denied', 'unsure', 'unheld')),
  CHECK (closed_at = 0 OR closed_at >= opened_at)
);
CREATE UNIQUE INDEX exposure_now ON exposure (vantage, addr, proto, port) WHERE closed_at = 0;

CREATE TABLE queue (                -- runs of ports that have just been opened, and wait to be probed; what was asked, or was shut again, is deleted
  vantage TEXT NOT NULL,          -- that asks
  project TEXT NOT NULL,          -- of the port behind the address: each gets its turn
  addr    BLOB NOT NULL,          -- 4 or 16 bytes
  proto   TEXT NOT NULL,
  first   INTEGER NOT NULL,       -- port
  last    INTEGER NOT NULL,       -- port, of the run
  at      INTEGER NOT NULL,       -- policy time of the reading that showed it open
  PRIMARY KEY (vantage, addr, proto, first, last)
);

CREATE TABLE standing (             -- how what endpoints do stands to the rules, by project, from a time on until the next row of its project and vantage
  cloud   TEXT NOT NULL,
  vantage TEXT NOT NULL,
  project TEXT NOT NULL,            -- that holds the ports
  at      INTEGER NOT NULL,         -- policy time from which on it stood so
  body    TEXT NOT NULL,            -- casework.Standing: numbers of endpoints, and of runs of ports where nothing listens
  PRIMARY KEY (cloud, vantage, project, at)
);

CREATE TABLE kase (                 -- cases; "case" is a keyword
  id      TEXT PRIMARY KEY,
  cloud   TEXT NOT NULL,
  server  TEXT NOT NULL,
  project TEXT NOT NULL,
  party   TEXT NOT NULL,
  track   TEXT NOT NULL,
  state   TEXT NOT NULL,
  act     TEXT NOT NULL,
  version INTEGER NOT NULL,
  body    TEXT NOT NULL,
  -- a machine is off the network by an order of ours or not at all
  CHECK (state <> 'restricted' OR act <> ''),
  -- what the provider holds never restricts a tenant's machine
  CHECK (state NOT IN ('queued', 'restricted') OR party = 'customer')
);
-- one open case for a machine, a party and a track
CREATE UNIQUE INDEX kase_open ON kase (cloud, server, (CASE WHEN server = '' THEN project ELSE '' END), party, track)
  WHERE state NOT IN ('closed', 'moot');
CREATE INDEX kase_project ON kase (project, state);

CREATE TABLE finding (
  id      TEXT PRIMARY KEY,
  key     TEXT NOT NULL UNIQUE,
  kase    TEXT NOT NULL,
  project TEXT NOT NULL,
  server  TEXT NOT NULL,
  state   TEXT NOT NULL,
  version INTEGER NOT NULL,
  body    TEXT NOT NULL
);
CREATE INDEX finding_case ON finding (kase);
CREATE INDEX finding_project ON finding (project, state);

CREATE TABLE sighting (             -- every look at a finding that a proof may be counted from
  id      INTEGER PRIMARY KEY,
  finding TEXT NOT NULL REFERENCES finding (id),
  at      INTEGER NOT NULL,
  real_at INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  vantage TEXT NOT NULL,
  fact    TEXT NOT NULL,
  binding TEXT NOT NULL
);
CREATE INDEX sighting_finding ON sighting (finding, at);

CREATE TABLE charge (               -- who had to act on a finding from when on
  id      INTEGER PRIMARY KEY,
  finding TEXT NOT NULL REFERENCES finding (id),
  at      INTEGER NOT NULL,
  body    TEXT NOT NULL
);
CREATE INDEX charge_finding ON charge (finding, at);

CREATE TABLE model (                -- every version of a responsibility model that was in use, with its text
  id      TEXT NOT NULL,
  version INTEGER NOT NULL,
  hash    TEXT NOT NULL,
  since   INTEGER NOT NULL,
  body    TEXT NOT NULL,
  PRIMARY KEY (id, version)
);

CREATE TABLE timer (                -- what falls due for a case
  kase TEXT NOT NULL,
  name TEXT NOT NULL,
  at   INTEGER NOT NULL,
  PRIMARY KEY (kase, name)
);
CREATE INDEX timer_due ON timer (at);

CREATE TABLE mail (                 -- the outbox, and what became of it
  id         TEXT PRIMARY KEY,
  message_id TEXT NOT NULL UNIQUE,  -- a step is told to a recipient once
  kase       TEXT NOT NULL,
  status     TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'failed')),
  next_at    INTEGER NOT NULL,
  body       TEXT NOT NULL
);
CREATE INDEX mail_due ON mail (next_at) WHERE status = 'pending';
CREATE INDEX mail_case ON mail (kase);

CREATE TABLE act (                  -- orders on tenants' machines
  id          TEXT PRIMARY KEY,
  kase        TEXT NOT NULL,
  cloud       TEXT NOT NULL,
  server      TEXT NOT NULL,
  project     TEXT NOT NULL,
  kind        TEXT NOT NULL,
  state       TEXT NOT NULL,
  intended_at INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  body        TEXT NOT NULL
);
-- one order under way on a server, whatever the case
CREATE UNIQUE INDEX act_running ON act (cloud, server) WHERE state = 'intended';
CREATE INDEX act_project ON act (cloud, project, intended_at);

CREATE TABLE audit (                -- the leaves of the Merkle log
  seq  INTEGER PRIMARY KEY,
  kase TEXT NOT NULL DEFAULT '',    -- the case the leaf names; held against it when the log is verified
  kind TEXT NOT NULL DEFAULT '',    -- and what kind of entry it is
  leaf BLOB NOT NULL
);
CREATE INDEX audit_case ON audit (kase, seq) WHERE kase <> '';
CREATE INDEX audit_kind ON audit (kind, seq);
CREATE TABLE audit_hash (           -- its inner hashes, by their index
  idx  INTEGER PRIMARY KEY,
  hash BLOB NOT NULL
);
