package serve_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"demarc/internal/casework"
	"demarc/internal/finding"
	"demarc/internal/lab"
	"demarc/internal/policy"
	"demarc/internal/store/storetest"
)

// edit changes bodies of a table behind the program's back, as somebody with the database's password can.
func (e *exam) edit(table, where string, change func(map[string]any)) {
	e.t.Helper()
	db, err := storetest.Beside(e.place)
	e.must(err)
	defer db.Close() //nolint:errcheck // a test
	rows, err := db.QueryContext(e.t.Context(), `SELECT id, body FROM `+table+where)
	e.must(err)
	bodies := map[string]string{}
	for rows.Next() {
		var id, body string
		e.must(rows.Scan(&id, &body))
		bodies[id] = body
	}
	e.must(rows.Err())
	e.must(rows.Close())
	for id, body := range bodies {
		var v map[string]any
		dec := json.NewDecoder(strings.NewReader(body))
		dec.UseNumber()
		e.must(dec.Decode(&v))
		change(v)
		out, err := json.Marshal(v)
		e.must(err)
		e.sql(fmt.Sprintf(`UPDATE %s SET body = '%s' WHERE id = '%s'`, table, strings.ReplaceAll(string(out), "'", "''"), id))
	}
	if len(bodies) == 0 {
		e.t.Fatalf("nothing to edit in %s%s", table, where)
	}
}

func (e *exam) sql(query string) {
	e.t.Helper()
	e.harmed = true
	db, err := storetest.Beside(e.place)
	e.must(err)
	defer db.Close() //nolint:errcheck // a test
	_, err = db.ExecContext(e.t.Context(), query)
	e.must(err)
}

// Rows that the gate relies on, edited behind the program's back. A deadline that was shortened, a class or grade that was raised, and a
// mail, approval, check, machine or budget that was forged lead to no action: the audit log says otherwise.
func TestEditedRowsAreRefused(t *testing.T) {
	t.Parallel()
	at := func(v map[string]any, key string, d int64) {
		n, err := v[key].(json.Number).Int64()
		if err == nil {
			v[key] = n + d
		}
	}
	for name, c := range map[string]struct {
		when   casework.State
		plot   plot
		edit   func(*exam)
		refuse string // what the gate says; "" where nothing gets as far
	}{
		"a deadline of the notice, shortened": {when: casework.Notified, refuse: "witnessed:", edit: func(e *exam) {
			e.edit("kase", "", func(v map[string]any) {
				v["due"] = e.clock.Now()
				at(v["notices"].([]any)[0].(map[string]any), "deadline", -4*day)
			})
			e.sql(fmt.Sprintf(`UPDATE timer SET at = %d WHERE name = 'due'`, e.clock.Now()))
		}},
		"the time to fix, shortened": {when: casework.Notified, refuse: "promised: a mail named a later deadline", edit: func(e *exam) {
			e.edit("kase", "", func(v map[string]any) { v["due"] = e.clock.Now() })
			e.sql(fmt.Sprintf(`UPDATE timer SET at = %d WHERE name = 'due'`, e.clock.Now()))
		}},
		"the grace, shortened": {when: casework.FinalWarning, refuse: "promised: a mail named a later deadline", edit: func(e *exam) {
			e.edit("kase", "", func(v map[string]any) { at(v, "grace_ends", -day); at(v, "final_at", -day) })
			e.sql(fmt.Sprintf(`UPDATE timer SET at = %d WHERE name = 'grace'`, e.clock.Now()))
		}},
		"a final warning, forged": {
			when:   casework.Notified,
			refuse: "witnessed: the final_warning to amir@astro.example is not in the audit log",
			edit: func(e *exam) {
				e.edit("kase", "", func(v map[string]any) {
					notice := v["notices"].([]any)[0].(map[string]any)
					forged := map[string]any{}
					for k, x := range notice {
						forged[k] = x
					}
					forged["step"], forged["message_id"], forged["accepted_at"] = "final_warning", "forged@cloud.example", e.clock.Now()
					v["notices"] = []any{notice, forged}
					v["state"], v["final_at"], v["grace_ends"], v["class"] = "final_warning", e.clock.Now(), e.clock.Now()+day, "E"
				})
				e.sql(`UPDATE kase SET state = 'final_warning'`)
				e.sql(fmt.Sprintf(`INSERT INTO timer (kase, name, at) SELECT id, 'grace', %d FROM kase`, e.clock.Now()+day))
			},
		},
		"an approval, forged": {when: casework.Queued, refuse: "witnessed: the approval by olga", edit: func(e *exam) {
			e.edit("kase", "", func(v map[string]any) { v["approvals"] = []any{map[string]any{"by": "olga", "at": e.clock.Now()}} })
			e.sql(fmt.Sprintf(`INSERT INTO timer (kase, name, at) SELECT id, 'enforce', %d FROM kase`, e.clock.Now()))
		}},
		"a class and a grade, raised": {when: casework.New, refuse: "proof:", plot: plot{scenario: oldMachine()}, edit: func(e *exam) {
			e.edit("finding", "", func(v map[string]any) { v["class"], v["grade"] = "E", "proved" })
			e.edit("kase", "", func(v map[string]any) { v["class"] = "E" })
		}},
		"a clean check, deleted": {when: casework.FinalWarning, refuse: "repeated-scans: a look between was clean", edit: func(e *exam) {
			e.setPassword("cache-1")
			e.claim("cache-1")
			e.untilIdle()
			e.must(e.w.SetService("cache-1", "redis", func(v *lab.Service) { v.Mode = "" }))
			e.sql(`DELETE FROM sighting WHERE verdict = '` + string(finding.NotVulnerable) + `'`)
		}},
		"a check, forged": {when: casework.Queued, refuse: "witnessed:", edit: func(e *exam) {
			e.sql(`INSERT INTO sighting (finding, at, real_at, verdict, vantage, fact, binding)
				SELECT finding, at + 1, real_at + 1, verdict, vantage, fact, binding FROM sighting WHERE verdict = 'vulnerable'`)
		}},
		"another machine": {when: casework.Queued, refuse: "identity: a finding of the case is about another machine", edit: func(e *exam) {
			victim := e.w.ServerID("gate-1")
			e.edit("kase", "", func(v map[string]any) { v["server"], v["project"] = victim, e.w.ProjectID("genomics") })
		}},
		"a kill switch, lifted": {
			when:   casework.Queued,
			refuse: "witnessed: the audit log of the case proves nothing: by the audit log enforcement was paused last",
			edit: func(e *exam) {
				e.must(e.d.Line.Pause(e.t.Context(), true, "olga", "a bad check"))
				e.sql(`UPDATE meta SET value = 'false' WHERE key = 'paused'`)
			},
		},
		"a mode, raised": {
			when:   casework.Queued,
			refuse: "the database says that the mode enforce was chosen, and the audit log does not",
			edit: func(e *exam) {
				e.must(e.d.Line.SetMode(e.t.Context(), policy.Notify, "olga", "a bad check"))
				e.sql(`UPDATE meta SET value = 'enforce' WHERE key = 'mode'`)
			},
		},
		"a switch of no known word": {when: casework.Queued, refuse: "switch:", edit: func(e *exam) {
			e.sql(`INSERT INTO meta (key, value) VALUES ('paused', 'no') ON CONFLICT (key) DO UPDATE SET value = 'no'`)
		}},
		"an entry of the log, deleted": {when: casework.Queued, refuse: "witnessed:", edit: func(e *exam) {
			e.sql(`DELETE FROM audit WHERE kind = 'mode.changed'`)
		}},
		"an entry of the log, edited": {when: casework.Queued, refuse: "witnessed:", edit: func(e *exam) {
			e.sql(`UPDATE audit SET kase = (SELECT id FROM kase) WHERE kind = 'mode.changed'`)
		}},
		"a state, forged": {when: casework.Notified, refuse: "notices:", edit: func(e *exam) {
			e.edit("kase", "", func(v map[string]any) { v["state"], v["queued_at"] = "queued", e.clock.Now() })
			e.sql(`UPDATE kase SET state = 'queued'`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, c.plot)
			e.until(string(c.when), 15, e.inState("cache-1", c.when))
			c.edit(e)
			if len(e.onlyCase().Approvals) == 0 {
				e.until("queued", 15, func() bool { return e.onlyCase().State == casework.Queued })
				e.must(e.d.Line.Approve(t.Context(), e.onlyCase().ID, "olga"))
			}
			e.untilIdle()
			e.untouched()
			if said := e.detail("", "gate.refused"); !strings.Contains(said, c.refuse) {
				t.Errorf("the gate said %q, want %q; last\n%s", said, c.refuse, strings.Join(e.last(12), "\n"))
			}
		})
	}
}

// onlyCase is the only case of the world, whatever machine it says that it is about.
func (e *exam) onlyCase() casework.Case {
	e.t.Helper()
	cs, err := e.d.DB.Cases(e.t.Context(), operator, casework.Filter{})
	e.must(err)
	if len(cs) != 1 {
		e.t.Fatalf("%d cases", len(cs))
	}
	return cs[0]
}

// oldMachine is a town whose cache-1 runs an operating system that ended, which is stated and no more.
func oldMachine() lab.Scenario {
	s := town()
	s.Servers[0].Services = []lab.Service{{Kind: lab.SSH, Port: 6379, Banner: "SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u2"}}
	return s
}

// An order that is deleted, or called void, frees no budget: the audit log has it.
func TestDeletedOrdersFreeNoBudget(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]string{
		"deleted":     `DELETE FROM act`,
		"called void": `UPDATE act SET state = 'void', body = REPLACE(body, '"state":"done"', '"state":"void"')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := town()
			m := machine("cache-9", "astro", "amir", "cache", "127.77.1.19", openRedis)
			m.NICs[0].Addr = place("10.0.0.99")
			s.Servers = append(s.Servers, m)
			e := open(t, plot{scenario: s})
			both := func(state casework.State) func() bool {
				return func() bool { return e.inState("cache-1", state)() && e.inState("cache-9", state)() }
			}
			e.until("queued", 10, both(casework.Queued))
			e.approve("cache-1")
			e.until("restricted", 1, e.inState("cache-1", casework.Restricted))
			e.sql(edit)
			e.approve("cache-9")
			e.untilIdle()
			if said := e.detail("cache-9", "gate.refused"); !strings.Contains(said, "budget: 2 acts in an hour for the project, at most 1") {
				t.Errorf("the gate said %q", said)
			}
		})
	}
}
