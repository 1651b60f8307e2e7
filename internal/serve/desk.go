package serve

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"demarc/internal/access"
	"demarc/internal/casework"
	"demarc/internal/fault"
	"demarc/internal/flow"
	"demarc/internal/policy"
	"demarc/internal/store"
)

// Desk is where a person decides. It reads and writes the ledger alone: whoever throws the kill switch needs neither the
// cloud nor the mail hop to answer. What it hears is checked here, whichever door it came through.
type Desk struct {
	db         *store.DB
	line       *flow.Line
	highest    policy.Mode                 // that the configuration allows
	outside    *killSwitch                 // the switch outside the ledger; nil: there is none
	recordSoon func()                      // asks for unrecorded pauses to be written; nil: the desk writes them itself
	resumed    func(context.Context) error // follows a resume, before the switch is off; may be nil
}

// NewDesk opens a desk on a ledger that no line runs on, under a policy. The Mode of the policy is the highest that is allowed.
func NewDesk(ctx context.Context, db *store.DB, p *policy.Policy) (*Desk, error) {
	c, err := standing(ctx, db)
	if err != nil {
		return nil, err
	}
	return deskAt(db, p, c), nil
}

func deskAt(db *store.DB, p *policy.Policy, c flow.Clock) *Desk {
	return &Desk{db: db, line: flow.New(flow.Config{Ledger: db, Clock: c, Policy: p}), highest: p.Mode.Known()}
}

// DecideAlone takes a decision to a database that no server answers for. Nothing but what is asked is written, and what only looks needs
// no right to write. Where the file of the kill switch is there, it is used as a server would: a pause takes effect in it first, and holds
// even if the database cannot be opened or written.
func DecideAlone(ctx context.Context, path string, p *policy.Policy, file store.SwitchFile, q Ask, opts ...store.Option) (Told, error) {
	if !file.Exists() {
		return alone(ctx, path, p, q, opts, func(d *Desk) (Told, error) { return d.Decide(ctx, q) })
	}
	outside := newSwitch(file)
	opts = append(opts, store.WithSwitch(outside))
	if q.Do != Pause {
		return alone(ctx, path, p, q, opts, func(d *Desk) (Told, error) {
			d.outside = outside
			return d.Decide(ctx, q)
		})
	}
	kept := outside.throw(store.NewPause(q.By, q.Why), q.Why)
	_, err := alone(ctx, path, p, q, opts, func(d *Desk) (Told, error) { return Told{}, outside.recordAll(ctx, d.line) })
	return pauseTold(q, file, kept, err)
}

// alone opens a database for one decision.
func alone(ctx context.Context, path string, p *policy.Policy, q Ask, opts []store.Option,
	decide func(*Desk) (Told, error)) (t Told, err error) {
	db, err := store.OpenReader(ctx, path, opts...) // refuses what is no database of ours before anything is written
	if err != nil {
		return t, err
	}
	if q.Do != Pending && q.Do != Preview && q.Do != ShowMode {
		if err := db.Close(); err != nil {
			return t, err
		}
		if db, err = store.Open(ctx, path, opts...); err != nil {
			return t, err
		}
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	d, err := NewDesk(ctx, db, p)
	if err != nil {
		return t, err
	}
	return decide(d)
}

// Verb is what a person can decide.
type Verb string

// The verbs.
const (
	Approve     Verb = "approve"     // consent to the act that waits in a case
	Acknowledge Verb = "acknowledge" // an owner has reacted
	Claim       Verb = "claim"       // an owner says it is fixed, or asks for a restricted machine's release
	Resume      Verb = "resume"      // a case on hold goes on, after a person has looked
	Withdraw    Verb = "withdraw"    // a case is taken back, and what was done to the machine undone
	Pause       Verb = "pause"       // the kill switch is thrown
	Unpause     Verb = "unpause"     // and lifted
	Pending     Verb = "pending"     // nothing is decided: what waits is told
	SetMode     Verb = "set-mode"    // the mode is changed
	ShowMode    Verb = "show-mode"   // nothing is decided: the mode is shown
	Preview     Verb = "preview"     // nothing is decided: the case is shown, and whether Then would mean anything
	Clear       Verb = "clear"       // what is left over on a port or machine is ended
	Renew       Verb = "renew"       // a case begins a new round of notices, with its own clock
)

// Ask is one decision.
type Ask struct {
	Do    Verb        `json:"do"`
	Cases []string    `json:"cases,omitempty"` // one, by id or short name; several to approve as one batch; Clear: a port or machine
	By    string      `json:"by,omitempty"`    // who decides, or whose word it is; a socket knows its peer better
	Why   string      `json:"why,omitempty"`   // the reason; Withdraw and SetMode need one
	Mode  policy.Mode `json:"mode,omitempty"`  // SetMode: which
	Then  Verb        `json:"then,omitempty"`  // Preview: what would be decided

	Despite []string `json:"despite,omitempty"` // Approve: conditions of the gate that are decided against; needs Why
}

// Told is what came of it.
type Told struct {
	By         string          `json:"by,omitempty"` // as it stands in the audit log
	Before     []casework.Case `json:"before,omitempty"`
	After      []casework.Case `json:"after,omitempty"`
	Paused     bool            `json:"paused"`
	Unrecorded string          `json:"unrecorded,omitempty"` // Pause: why the database does not have it yet; it is in force all the same
	Mode       *ModeState      `json:"mode,omitempty"`       // SetMode, ShowMode, Pending
	Waiting    []casework.Case `json:"waiting,omitempty"`    // Pending: whose act waits for approval or the gate
	Running    []casework.Act  `json:"running,omitempty"`    // Pending: acts under way

	Leftovers []casework.Leftover          `json:"leftovers,omitempty"` // Pending: what of ours no action in force explains
	Names     map[string]map[string]string `json:"names,omitempty"`     // of the servers and projects above, by kind and id; a stranger's text
	Will      map[string]policy.End        `json:"will,omitempty"`      // what the action of each case above would do, by case id
}

// look finds the cases and says whether a decision about them would mean anything now.
func (d *Desk) look(ctx context.Context, q Ask) (Told, error) {
	t := Told{By: q.By}
	if len(q.Cases) == 0 || len(q.Cases) > 1 && q.Do != Approve || len(q.Cases) > mostCases {
		return t, fault.New(fault.Usage, "%d cases are named", len(q.Cases)).Hinted("name one; an approval takes up to %d, as one batch", mostCases)
	}
	for _, id := range q.Cases {
		c, err := FindCase(ctx, d.db, id)
		if err != nil {
			return t, err
		}
		if err := d.mayApprove(ctx, q, c); err != nil {
			return t, err
		}
		if err := heard(q, c); err != nil {
			return t, err
		}
		t.Before = append(t.Before, c)
	}
	return t, d.name(ctx, &t)
}

// mostCases bounds one batch: far more than any budget lets happen.
const mostCases = 1000

// Decide writes a decision down.
func (d *Desk) Decide(ctx context.Context, q Ask) (Told, error) {
	switch q.Do {
	case Pause:
		return d.pause(ctx, q)
	case Unpause:
		return d.resume(ctx, q)
	case SetMode:
		return d.setMode(ctx, q)
	case ShowMode:
		m, err := d.modeState(ctx)
		return Told{By: q.By, Mode: m}, err
	case Pending:
		return d.pending(ctx)
	case Preview:
		q.Do = q.Then
		return d.look(ctx, q)
	case Clear:
		return d.clear(ctx, q)
	case Approve, Acknowledge, Claim, Resume, Withdraw, Renew:
	default:
		return Told{}, fault.New(fault.Usage, "nobody can decide %q", string(q.Do))
	}
	if strings.TrimSpace(q.By) == "" {
		return Told{}, fault.New(fault.Usage, "a decision needs a name").Hinted("say who decides with --by; it stands in the audit log")
	}
	t, err := d.look(ctx, q)
	if err != nil {
		return t, err
	}
	id := t.Before[0].ID
	switch q.Do {
	case Approve:
		var ids []string
		for _, c := range t.Before {
			ids = append(ids, c.ID)
		}
		err = d.line.ApproveAll(ctx, ids, casework.Approve{By: q.By, Despite: q.Despite, Why: q.Why})
	case Acknowledge:
		err = d.line.Acknowledge(ctx, id, q.By)
	case Claim:
		err = d.line.Claim(ctx, id, q.By)
	case Resume:
		err = d.line.Resume(ctx, id, q.By)
	case Withdraw:
		err = d.line.Withdraw(ctx, id, q.By, q.Why)
	case Renew:
		err = d.line.Renew(ctx, id, q.By, q.Why)
	case Pause, Unpause, SetMode, ShowMode, Pending, Preview, Clear:
	}
	if err != nil {
		return t, err
	}
	for _, c := range t.Before {
		after, err := d.db.Case(ctx, access.Operator(), c.ID)
		if err != nil {
			return t, err
		}
		t.After = append(t.After, after)
	}
	return t, nil
}

// mayApprove refuses an approval in a mode that carries out no action: nothing may happen later by an approval of today.
func (d *Desk) mayApprove(ctx context.Context, q Ask, c casework.Case) error {
	m, err := d.modeState(ctx)
	if err != nil || q.Do != Approve || m.InForce.AtLeast(policy.Enforce) {
		return err
	}
	return fault.New(fault.Refused, "case %s can not be approved: the mode in force is %s, and an action needs enforce", c.Ref(), m.InForce).
		Hinted("see demarc mode show")
}

// heard tells why a decision would change nothing, or must not be taken.
func heard(q Ask, c casework.Case) error {
	over := func() error {
		return fault.New(fault.Refused, "case %s is %s: it is over", c.Ref(), c.State).Hinted("see demarc case list --live")
	}
	switch {
	case q.Do == Approve && c.State != casework.Queued:
		return fault.New(fault.Refused, "no act waits in case %s: it is %s", c.Ref(), c.State).Hinted("see demarc enforce pending")
	case q.Do == Approve && len(q.Despite) > 0 && strings.TrimSpace(q.Why) == "":
		return fault.New(fault.Usage, "nobody decides against a condition of the gate without a reason").
			Hinted("give it with --reason; it is kept in the audit log")
	case q.Do == Approve && slices.ContainsFunc(q.Despite, func(d string) bool { return !slices.Contains(casework.Despite, d) }):
		return fault.New(fault.Usage, "%s cannot be decided against", strings.Join(q.Despite, ", ")).
			Hinted("--despite takes: %s", strings.Join(casework.Despite, ", "))
	case q.Do == Renew && strings.TrimSpace(q.Why) == "":
		return fault.New(fault.Usage, "a new round needs a reason").Hinted("give it with --reason; it is kept in the audit log")
	case q.Do == Renew && !slices.Contains(renewable, c.State):
		return fault.New(fault.Refused, "case %s is %s: no new round begins there", c.Ref(), c.State).Hinted("see demarc case show %s", c.Ref())
	case q.Do == Acknowledge && c.State != casework.Notified:
		return fault.New(fault.Refused, "case %s is %s: only a case that is notified is acknowledged", c.Ref(), c.State).Hinted("see demarc case show %s", c.Ref())
	case q.Do == Claim && (c.State == casework.New || c.State == casework.OnHold):
		return fault.New(fault.Refused, "case %s is %s: nothing is fixed in it by anybody's word", c.Ref(), c.State).Hinted("see demarc case show %s", c.Ref())
	case q.Do == Claim && c.State.Over():
		return over()
	case q.Do == Resume && c.State != casework.OnHold:
		return fault.New(fault.Refused, "case %s is %s: only a case on hold is resumed", c.Ref(), c.State).Hinted("see demarc case list")
	case q.Do == Withdraw && strings.TrimSpace(q.Why) == "":
		return fault.New(fault.Usage, "a case is not taken back without a reason").Hinted("give it with --reason; it is kept in the audit log")
	case q.Do == Withdraw && (c.State.Over() || c.State == casework.Released || c.State == casework.Verified):
		return fault.New(fault.Refused, "case %s is %s: there is nothing to take back", c.Ref(), c.State).Hinted("see demarc case show %s", c.Ref())
	}
	return nil
}

// renewable lists the states in which an operator can begin a new round of notices.
var renewable = []casework.State{casework.Notified, casework.Acknowledged, casework.Overdue, casework.FinalWarning, casework.Queued}

// FindCase finds a case by its id or its short name.
func FindCase(ctx context.Context, db *store.DB, id string) (casework.Case, error) {
	if !strings.HasPrefix(strings.ToUpper(id), "DM-") {
		c, err := db.Case(ctx, access.Operator(), id)
		if f, ok := fault.Of(err); ok && f.Code == fault.NotFound {
			err = f.Hinted("see demarc case list")
		}
		return c, err
	}
	cs, err := db.Cases(ctx, access.Operator(), casework.Filter{})
	if err != nil {
		return casework.Case{}, err
	}
	var hits []casework.Case
	var ids []string
	for _, c := range cs {
		if c.Ref() == strings.ToUpper(id) {
			hits, ids = append(hits, c), append(ids, c.ID)
		}
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return casework.Case{}, fault.New(fault.NotFound, "there is no case %q", id).Hinted("see demarc case list")
	}
	return casework.Case{}, fault.New(fault.Usage, "%d cases are called %s", len(ids), id).Hinted("name one by its id: %s", strings.Join(ids, ", "))
}

func (d *Desk) pending(ctx context.Context) (t Told, err error) {
	if t.Paused, err = d.db.Paused(ctx); err != nil {
		return t, err
	}
	if t.Mode, err = d.modeState(ctx); err != nil {
		return t, err
	}
	if t.Waiting, err = d.db.Cases(ctx, access.Operator(), casework.Filter{States: []casework.State{casework.Queued}}); err != nil {
		return t, err
	}
	if t.Running, err = d.db.RunningActs(ctx); err != nil {
		return t, err
	}
	if t.Leftovers, err = d.leftovers(ctx); err != nil {
		return t, err
	}
	return t, d.name(ctx, &t)
}

// leftovers lists what of ours stands in every cloud and no action in force explains.
func (d *Desk) leftovers(ctx context.Context) ([]casework.Leftover, error) {
	clouds, err := d.db.Clouds(ctx)
	if err != nil {
		return nil, err
	}
	var out []casework.Leftover
	for _, c := range clouds {
		found, err := d.db.Leftovers(ctx, c)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// clear writes down that what is left over on a port or machine is to be ended. Where the ledger does not hold what was there before, a
// person has to say what it is to get, in the cloud itself.
func (d *Desk) clear(ctx context.Context, q Ask) (Told, error) {
	t := Told{By: q.By}
	if strings.TrimSpace(q.By) == "" || strings.TrimSpace(q.Why) == "" || len(q.Cases) != 1 {
		return t, fault.New(fault.Usage, "clearing needs the id of one port or machine, and a reason").
			Hinted("see demarc enforce pending; give the reason with --reason")
	}
	clouds, err := d.db.Clouds(ctx)
	if err != nil {
		return t, err
	}
	for _, c := range clouds {
		found, err := d.db.Leftovers(ctx, c)
		if err != nil {
			return t, err
		}
		for _, l := range found {
			if l.ID() != q.Cases[0] {
				continue
			}
			if l.Act == "" {
				return t, fault.New(fault.Refused, "there is no record of what %s %s had before", l.Kind, l.ID()).
					Hinted("end it by hand: openstack port set --no-security-group --security-group GROUP %s, "+
						"or openstack server unlock %s", l.ID(), l.ID())
			}
			t.Leftovers = append(t.Leftovers, l)
			return t, d.line.Clear(ctx, casework.Clearing{Cloud: c, ID: l.ID(), By: q.By, Why: q.Why})
		}
	}
	return t, fault.New(fault.NotFound, "nothing is left over on %q", q.Cases[0]).Hinted("see demarc enforce pending")
}

// name looks up what the servers and projects of an answer are called.
func (d *Desk) name(ctx context.Context, t *Told) error {
	cases := slices.Concat(t.Waiting, t.Before)
	t.Will = map[string]policy.End{}
	for _, c := range cases {
		will, err := d.line.Will(ctx, c)
		if err != nil {
			return err
		}
		t.Will[c.ID] = will
	}
	t.Names = map[string]map[string]string{"server": {}, "project": {}}
	for _, c := range cases {
		for kind, id := range map[string]string{"server": string(c.Server), "project": string(c.Project)} {
			if id == "" || t.Names[kind][id] != "" {
				continue
			}
			name, err := d.db.NameOf(ctx, access.Operator(), c.Cloud, kind, id)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			t.Names[kind][id] = name.Raw()
		}
	}
	return nil
}

// apart is how far policy time may be from the world's before a ledger counts as one of compressed time.
const apart = int64(time.Hour / time.Microsecond)

// standing finds the policy time of a decision. Where the line's policy time is the world's, it is now, and never before
// the ledger's. Where it is compressed, as in the demo, it is where the ledger stands.
func standing(ctx context.Context, db *store.DB) (flow.Clock, error) {
	at, err := db.Clock(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixMicro()
	looks, err := db.Coverages(ctx, 1)
	if err != nil {
		return nil, err
	}
	for _, c := range looks {
		if off := c.Ended - c.RealAt; off > apart || off < -apart {
			return flow.NewLeaping(at), nil
		}
	}
	return flow.NewLeaping(max(at, now)), nil
}
