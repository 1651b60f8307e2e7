-- The whole database, PostgreSQL. Times are µs since 1970 UTC. A body is JSON; the columns beside it are what is searched
-- or guarded. The other engine's file says the same in its own words, and a test holds the two together. Until the first
-- release this file is edited in place.

CREATE DOMAIN word AS TEXT COLLATE "C";   -- listed in the order of bytes, as the other engine does, whatever the locale of the database

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
  key   word PRIMARY KEY,
  value word NOT NULL
);

CREATE TABLE object (               -- what the clouds hold, by valid time; valid_to 0 is "still"
  id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cloud      word NOT NULL,
  kind       word NOT NULL,         -- project, user, grant, image, server, network, subnet, router, port, fip, group, address_set, trunk, load_balancer, firewall, link, rbac, default_rule
  object     word NOT NULL,
  hash       word NOT NULL,
  body       word NOT NULL,
  valid_from BIGINT NOT NULL,
  valid_to   BIGINT NOT NULL DEFAULT 0,
  missing    BIGINT NOT NULL DEFAULT 0,  -- complete snapshots in a row without it; at 2 it is gone
  stale      BIGINT NOT NULL DEFAULT 0,  -- whole readings in a row at an earlier revision; at 2 they are believed
  CHECK (valid_to = 0 OR valid_to >= valid_from)
);
CREATE UNIQUE INDEX object_now ON object (cloud, kind, object) WHERE valid_to = 0;
CREATE INDEX object_then ON object (cloud, valid_from, valid_to);
CREATE INDEX object_ended ON object (cloud, kind, valid_to);

CREATE TABLE binding (              -- who held an address when; known_at is when we learnt it
  id         word PRIMARY KEY,
  cloud      word NOT NULL,
  scope      word NOT NULL,
  addr       BYTEA NOT NULL,        -- 4 or 16 bytes
  port       word NOT NULL,
  server     word NOT NULL,
  project    word NOT NULL,
  fip        word NOT NULL,
  shared     BIGINT NOT NULL,
  valid_from BIGINT NOT NULL,
  valid_to   BIGINT NOT NULL DEFAULT 0,
  known_at   BIGINT NOT NULL,
  end_known_at BIGINT NOT NULL DEFAULT 0, -- when we learnt that it ended
  source     word NOT NULL,
  CHECK (valid_to = 0 OR valid_to >= valid_from)
);
CREATE UNIQUE INDEX binding_now ON binding (cloud, scope, addr, port) WHERE valid_to = 0;
CREATE INDEX binding_then ON binding (addr, valid_from, valid_to);

CREATE TABLE coverage (             -- what was looked at when; the only rows an unchanged sweep writes
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind     word NOT NULL,           -- inventory, recent, sweep
  cloud    word NOT NULL,
  vantage  word NOT NULL,
  purpose  word NOT NULL,
  cycle    BIGINT NOT NULL,
  began    BIGINT NOT NULL,
  ended    BIGINT NOT NULL,
  took     BIGINT NOT NULL,       -- µs spent on a whole reading: it may have been cut and gone on; 0: from began to ended
  real_at  BIGINT NOT NULL,
  complete BIGINT NOT NULL,
  sent     BIGINT NOT NULL,
  answered BIGINT NOT NULL,
  open     BIGINT NOT NULL,
  note     word NOT NULL
);
CREATE INDEX coverage_last ON coverage (kind, cloud, vantage, purpose, ended);

CREATE TABLE reading (              -- pages of a walk over a cloud that is not over; they go with the commit of its snapshot
  id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cloud   word NOT NULL,
  account word NOT NULL,            -- who asked
  listing word NOT NULL,
  page    BIGINT NOT NULL,          -- from 0
  began   BIGINT NOT NULL,          -- of the walk
  at      BIGINT NOT NULL,
  said    BIGINT NOT NULL,          -- by the service's clock
  marker  word NOT NULL,
  done    BIGINT NOT NULL,
  body    TEXT NOT NULL
);
CREATE UNIQUE INDEX reading_page ON reading (cloud, listing, page);

CREATE TABLE fact (                 -- what endpoints showed, by content
  hash word PRIMARY KEY,
  body word NOT NULL
);

CREATE TABLE exposure (             -- intervals in which an endpoint was open with the same facts
  id        word PRIMARY KEY,
  vantage   word NOT NULL,
  addr      BYTEA NOT NULL,
  proto     word NOT NULL,
  port      BIGINT NOT NULL,
  opened_at BIGINT NOT NULL,
  closed_at BIGINT NOT NULL DEFAULT 0,
  fact      word NOT NULL REFERENCES fact (hash),
  config    word NOT NULL CHECK (config IN ('open', 'scanner_only', 'denied', 'unsure', 'unheld')),
  CHECK (closed_at = 0 OR closed_at >= opened_at)
);
CREATE UNIQUE INDEX exposure_now ON exposure (vantage, addr, proto, port) WHERE closed_at = 0;

CREATE TABLE queue (                -- runs of ports that have just been opened, and wait to be probed; what was asked, or was shut again, is deleted
  vantage word NOT NULL,          -- that asks
  project word NOT NULL,          -- of the port behind the address: each gets its turn
  addr    BYTEA NOT NULL,         -- 4 or 16 bytes
  proto   word NOT NULL,
  first   BIGINT NOT NULL,        -- port
  last    BIGINT NOT NULL,        -- port, of the run
  at      BIGINT NOT NULL,        -- policy time of the reading that showed it open
  PRIMARY KEY (vantage, addr, proto, first, last)
);

CREATE TABLE standing (             -- how what endpoints do stands to the rules, by project, from a time on until the next row of its project and vantage
  cloud   word NOT NULL,
  vantage word NOT NULL,
  project word NOT NULL,            -- that holds the ports
  at      BIGINT NOT NULL,          -- policy time from which on it stood so
  body    word NOT NULL,            -- casework.Standing: numbers of endpoints, and of runs of ports where nothing listens
  PRIMARY KEY (cloud, vantage, project, at)
);

CREATE TABLE kase (                 -- cases; "case" is a keyword
  id      word PRIMARY KEY,
  cloud   word NOT NULL,
  server  word NOT NULL,
  project word NOT NULL,
  party   word NOT NULL,
  track   word NOT NULL,
  state   word NOT NULL,
  act     word NOT NULL,
  version BIGINT NOT NULL,
  body    word NOT NULL,
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
  id      word PRIMARY KEY,
  key     word NOT NULL UNIQUE,
  kase    word NOT NULL,
  project word NOT NULL,
  server  word NOT NULL,
  state   word NOT NULL,
  version BIGINT NOT NULL,
  body    word NOT NULL
);
CREATE INDEX finding_case ON finding (kase);
CREATE INDEX finding_project ON finding (project, state);

CREATE TABLE sighting (             -- every look at a finding that a proof may be counted from
  id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  finding word NOT NULL REFERENCES finding (id),
  at      BIGINT NOT NULL,
  real_at BIGINT NOT NULL,
  verdict word NOT NULL,
  vantage word NOT NULL,
  fact    word NOT NULL,
  binding word NOT NULL
);
CREATE INDEX sighting_finding ON sighting (finding, at);

CREATE TABLE charge (               -- who had to act on a finding from when on
  id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  finding word NOT NULL REFERENCES finding (id),
  at      BIGINT NOT NULL,
  body    TEXT NOT NULL
);
CREATE INDEX charge_finding ON charge (finding, at);

CREATE TABLE model (                -- every version of a responsibility model that was in use, with its text
  id      word NOT NULL,
  version BIGINT NOT NULL,
  hash    word NOT NULL,
  since   BIGINT NOT NULL,
  body    TEXT NOT NULL,
  PRIMARY KEY (id, version)
);

CREATE TABLE timer (                -- what falls due for a case
  kase word NOT NULL,
  name word NOT NULL,
  at   BIGINT NOT NULL,
  PRIMARY KEY (kase, name)
);
CREATE INDEX timer_due ON timer (at);

CREATE TABLE mail (                 -- the outbox, and what became of it
  id         word PRIMARY KEY,
  message_id word NOT NULL UNIQUE,  -- a step is told to a recipient once
  kase       word NOT NULL,
  status     word NOT NULL CHECK (status IN ('pending', 'accepted', 'failed')),
  next_at    BIGINT NOT NULL,
  body       word NOT NULL
);
CREATE INDEX mail_due ON mail (next_at) WHERE status = 'pending';
CREATE INDEX mail_case ON mail (kase);

CREATE TABLE act (                  -- orders on tenants' machines
  id          word PRIMARY KEY,
  kase        word NOT NULL,
  cloud       word NOT NULL,
  server      word NOT NULL,
  project     word NOT NULL,
  kind        word NOT NULL,
  state       word NOT NULL,
  intended_at BIGINT NOT NULL,
  version     BIGINT NOT NULL,
  body        word NOT NULL
);
-- one order under way on a server, whatever the case
CREATE UNIQUE INDEX act_running ON act (cloud, server) WHERE state = 'intended';
CREATE INDEX act_project ON act (cloud, project, intended_at);

CREATE TABLE audit (                -- the leaves of the Merkle log
  seq  BIGINT PRIMARY KEY,
  kase word NOT NULL DEFAULT '',    -- the case the leaf names; held against it when the log is verified
  kind word NOT NULL DEFAULT '',    -- and what kind of entry it is
  leaf BYTEA NOT NULL
);
CREATE INDEX audit_case ON audit (kase, seq) WHERE kase <> '';
CREATE INDEX audit_kind ON audit (kind, seq);
CREATE TABLE audit_hash (           -- its inner hashes, by their index
  idx  BIGINT PRIMARY KEY,
  hash BYTEA NOT NULL
);
