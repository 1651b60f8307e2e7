// Package access says who may see or do what.
package access

import (
	"slices"

	"demarc/internal/asset"
)

// Scope bounds what a reading may return. The zero value admits nothing.
type Scope struct {
	all      bool
	projects []asset.ProjectID
}

// Operator sees every project of every cloud.
func Operator() Scope { return Scope{all: true} }

// Tenant sees what belongs to the given projects.
func Tenant(projects ...asset.ProjectID) Scope { return Scope{projects: slices.Clone(projects)} }

// All tells whether the scope is without bounds.
func (s Scope) All() bool { return s.all }

// Projects lists the projects of a bounded scope.
func (s Scope) Projects() []asset.ProjectID { return slices.Clone(s.projects) }

// Admits tells whether something of a project may be shown.
func (s Scope) Admits(p asset.ProjectID) bool { return s.all || slices.Contains(s.projects, p) }
