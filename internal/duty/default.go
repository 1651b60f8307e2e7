package duty

import (
	_ "embed"
	"sync"

	"demarc/internal/fault"
)

//go:embed model/default.yaml
var defaultModel []byte

// Default is the embedded model: NexGen Cloud's shared responsibility model, with the Cambridge
// OpenStack security model where the first is silent. The caller must not change it.
var Default = sync.OnceValues(func() (*Model, error) { return Parse("model/default.yaml", defaultModel) })

// Parse reads and validates a model.
func Parse(name string, data []byte) (*Model, error) {
	var m Model
	if err := fault.DecodeYAML(name, data, &m); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		if f, ok := fault.Of(err); ok {
			return nil, f.In(fault.Position{File: name})
		}
		return nil, err
	}
	return &m, nil
}
