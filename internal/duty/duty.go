// Package duty says who must do what under which model and contract.
//
// A model is data. Its duties are sentences of its sources; its assignments give aspects of a layer to an owner under a
// selector, and the most specific one decides. Two that are equally specific, a question that nobody holds, and an owner that
// contradicts a duty are errors when the model is loaded, never a silent order. To resolve is a pure function of
// the model, the resource and the contract that covers it at a time.
package duty

import (
	"slices"
)

// Layer is a part of the stack. The list is closed.
type Layer string

// Layers lists every layer, from the ground up, and then what stands beside the stack.
var Layers = []Layer{"physical", "physical-network", "datacenter", "hypervisor", "host-os", "container-host-os", "container-engine",
	"guest-os", "binaries-libraries", "application", "network-controls", "identity-directory", "accounts", "data", "devices", "access", "platform",
	"governance", "support", "assurance", "case"}

// Aspect is a side of a layer that one party can hold while another holds the next. The list is closed.
type Aspect string

// Aspects lists every aspect.
var Aspects = []Aspect{"provide-capability", "secure-default", "configure", "maintain", "secure", "monitor", "respond", "govern"}

// Ownership is the CSA Cloud Controls Matrix v4 vocabulary (STA-04).
type Ownership string

// The six values of the vocabulary.
const (
	CSPOwned         Ownership = "csp-owned"
	CSCOwned         Ownership = "csc-owned"
	ThirdParty       Ownership = "3rd-party-outsourced"
	SharedCSPCSC     Ownership = "shared-csp-csc"
	SharedThirdParty Ownership = "shared-csp-3rd-party"
	NotApplicable    Ownership = "n-a"
)

// Ownerships lists every ownership.
var Ownerships = []Ownership{CSPOwned, CSCOwned, ThirdParty, SharedCSPCSC, SharedThirdParty, NotApplicable}

// outsourced tells whether the ownership needs a third party to be named.
func (o Ownership) outsourced() bool { return o == ThirdParty || o == SharedThirdParty }

// Party is who must act on a finding.
type Party string

// The parties a finding can be charged to.
const (
	Provider Party = "provider"
	Customer Party = "customer"
	Shared   Party = "shared" // both, each its part
)

// Words names a party in a sentence.
func (p Party) Words() string {
	if p == Shared {
		return "both"
	}
	return "the " + string(p)
}

// Party says who acts under an ownership. What a third party does for the provider is the provider's to see done; what nobody
// holds is a provider problem.
func (o Ownership) Party() Party {
	switch o {
	case CSCOwned:
		return Customer
	case SharedCSPCSC:
		return Shared
	case CSPOwned, ThirdParty, SharedThirdParty, NotApplicable:
		return Provider
	}
	return Provider
}

// Strength is how binding a duty's sentence is.
type Strength string

// The strengths.
const (
	Shall    Strength = "shall"    // stated as a responsibility
	Expected Strength = "expected" // asked for
	May      Strength = "may"      // a power, not an obligation
)

// Strengths lists every strength.
var Strengths = []Strength{Shall, Expected, May}

// Evidence is how it can be known whether a duty is done.
type Evidence string

// The kinds of evidence.
const (
	Observed Evidence = "observed" // by a probe or by the cloud's configuration
	Attested Evidence = "attested" // somebody says so
	None     Evidence = "none"     // neither
)

// Evidences lists every kind of evidence.
var Evidences = []Evidence{Observed, Attested, None}

// Role is what an organisation is in a model.
type Role string

// The roles of organisations.
const (
	RoleProvider   Role = "provider"
	RoleCustomer   Role = "customer"
	RoleThirdParty Role = "third-party"
)

// Roles lists every role.
var Roles = []Role{RoleProvider, RoleCustomer, RoleThirdParty}

// number gives a value's place in its closed list, -1 where it has none.
func number[T comparable](of []T, v T) int { return slices.Index(of, v) }
