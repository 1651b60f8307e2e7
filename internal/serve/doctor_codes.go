package serve

// Code names what was found, for a script to act on. It is stable.
type Code string

// What can be found. docs/doctor.md says what each means.
const (
	PolicyRead     Code = "policy"
	PolicyNoNotice Code = "policy-no-notice-class"
	ModeLower      Code = "mode-lower"

	CloudAccount     Code = "cloud-account"
	CloudRefused     Code = "cloud-credential-refused"
	CloudUnreachable Code = "cloud-unreachable"
	CloudReaderOnly  Code = "cloud-reader-only"
	CloudPerProject  Code = "cloud-per-project"
	CloudSystem      Code = "cloud-system-scope"
	CloudSilent      Code = "cloud-silent-empty"
	CloudPartial     Code = "cloud-partial"
	CloudCoverage    Code = "cloud-coverage"
	CloudUnreadable  Code = "cloud-people-unreadable"
	CloudUnproven    Code = "cloud-coverage-unproven"
	CloudCanChange   Code = "cloud-can-change"
	Expiring         Code = "credential-expiring"

	EnforceOff         Code = "enforcement-off"
	EnforceAccount     Code = "enforcement-account"
	EnforceOne         Code = "one-account"
	EnforceRefused     Code = "enforcement-credential-refused"
	EnforceUnreachable Code = "enforcement-unreachable"
	EnforceWeak        Code = "enforcement-no-admin"
	EnforceNoReason    Code = "enforcement-no-lock-reason"
	EnforceGroup       Code = "enforcement-quarantine"
	EnforceShared      Code = "enforcement-quarantine-shared"
	EnforceNoGroup     Code = "enforcement-quarantine-unseen"
	EnforceNotHere     Code = "enforcement-not-loopback"

	ClockRight  Code = "clock"
	ClockOff    Code = "clock-off"
	ClockUnsync Code = "clock-unsynchronised"
	ClockAlone  Code = "clock-unproven"

	VantageRoad      Code = "vantage"
	VantageNamespace Code = "vantage-namespace"
	VantageNoSource  Code = "vantage-no-source"
	VantageNoFamily  Code = "vantage-no-family"
	VantageNoRoute   Code = "vantage-no-route"
	VantageOther     Code = "vantage-other-source"
	VantageNothing   Code = "vantage-nothing-to-probe"

	MailTaken       Code = "mail"
	MailUnreachable Code = "mail-unreachable"
	MailTLS         Code = "mail-tls"
	MailLogin       Code = "mail-login"
	MailRefused     Code = "mail-refused"
	MailLater       Code = "mail-later"

	DatabaseWritable    Code = "database"
	DatabaseNew         Code = "database-new"
	DatabaseInUse       Code = "database-in-use"
	DatabaseReadOnly    Code = "database-read-only"
	DatabaseUnreachable Code = "database-unreachable"
	DatabaseNotOurs     Code = "database-not-ours"

	ModelKnown   Code = "model"
	ModelChanged Code = "model-changed"
	ModelAside   Code = "contract-covers-nothing"

	InventoryPartial Code = "inventory-partial"
	SweepInTime      Code = "sweep-in-time"
	SweepLate        Code = "sweep-late"
	SweepGaps        Code = "sweep-gaps"

	MachinesReached    Code = "machines"
	MachinesOutOfReach Code = "machines-out-of-reach"
	MachinesUnread     Code = "machines-unread"
	Leftovers          Code = "leftovers"
	FindingsDiffer     Code = "findings-differ"

	AuditHeads      Code = "audit-heads"
	AuditTampered   Code = "audit-rewritten"
	AuditUnwritable Code = "audit-heads-unwritable"
	AuditUnread     Code = "audit-unread"
	AuditLost       Code = "audit-heads-lost"
	CasesRepaired   Code = "cases-repaired"

	SwitchOff      Code = "kill-switch"
	SwitchOn       Code = "enforcement-paused"
	SwitchUnusable Code = "kill-switch-unusable"

	SocketFree  Code = "socket"
	SocketTaken Code = "socket-unusable"

	ApproverUnknown Code = "approver-unknown"

	SecretsKept     Code = "secrets"
	SecretsReadable Code = "secrets-readable"
	SecretsUnread   Code = "secrets-unread"

	TookTooLong Code = "took-too-long"
)

// Codes lists them all.
var Codes = []Code{
	PolicyRead, PolicyNoNotice, ModeLower,
	CloudAccount, CloudRefused, CloudUnreachable, CloudReaderOnly, CloudPerProject, CloudSystem, CloudSilent, CloudPartial, CloudCoverage, CloudUnreadable, CloudUnproven, CloudCanChange, Expiring,
	EnforceOff, EnforceAccount, EnforceOne, EnforceRefused, EnforceUnreachable, EnforceWeak, EnforceNoReason, EnforceGroup, EnforceShared, EnforceNoGroup, EnforceNotHere,
	ClockRight, ClockOff, ClockUnsync, ClockAlone,
	VantageRoad, VantageNamespace, VantageNoSource, VantageNoFamily, VantageNoRoute, VantageOther, VantageNothing,
	MailTaken, MailUnreachable, MailTLS, MailLogin, MailRefused, MailLater,
	DatabaseWritable, DatabaseNew, DatabaseInUse, DatabaseReadOnly, DatabaseUnreachable, DatabaseNotOurs,
	ModelKnown, ModelChanged, ModelAside,
	InventoryPartial, SweepInTime, SweepLate, SweepGaps,
	MachinesReached, MachinesOutOfReach, MachinesUnread, Leftovers, FindingsDiffer,
	AuditHeads, AuditTampered, AuditUnwritable, AuditUnread, AuditLost, CasesRepaired,
	SwitchOff, SwitchOn, SwitchUnusable,
	SocketFree, SocketTaken, ApproverUnknown,
	SecretsKept, SecretsReadable, SecretsUnread,
	TookTooLong,
}
