package duty

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"demarc/internal/fault"
)

//go:embed model/default.yaml
var defaultModel []byte

// DefaultText is the embedded model as it is written, to be copied and changed.
func DefaultText() string { return string(defaultModel) }

// Default is the embedded model: NexGen Cloud's shared responsibility model, with the Cambridge
// OpenStack security model where the first is silent. The caller must not change it.
var Default = sync.OnceValues(func() (*Model, error) { return Parse("model/default.yaml", defaultModel) })

// Parse reads and validates a model: CSV where the name ends so, else YAML, of which JSON is a part.
func Parse(name string, data []byte) (*Model, error) {
	return ParseKnowing(name, data, nil)
}

// ParseKnowing is Parse that also refuses a duty whose check is not among those that are known, where they are given.
func ParseKnowing(name string, data []byte, known []string) (*Model, error) {
	m, at, err := read(name, data)
	if err != nil {
		return nil, err
	}
	unsaid(reflect.ValueOf(m).Elem())
	if w := m.wrong(); w != nil {
		return nil, w.placed(at)
	}
	if w := m.unknownCheck(known); w != nil {
		return nil, w.placed(at)
	}
	canonical, err := m.JSON()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(canonical)
	m.text, m.hash = string(data), hex.EncodeToString(sum[:])
	return m, nil
}

// unknownCheck finds a check that there is not; without a list of those that there are, none is looked for.
func (m *Model) unknownCheck(known []string) *mistake {
	if known == nil {
		return nil
	}
	for i := range m.Duties {
		for j, c := range m.Duties[i].Checks {
			if w := oneOf(fmt.Sprintf("$.duties[%d].checks[%d]", i, j), "check", c, known); w != nil {
				return w
			}
		}
	}
	return nil
}

// read decodes a model and gives a way to find the place of its parts.
func read(name string, data []byte) (*Model, func(path string) fault.Position, error) {
	data, err := fault.Text(name, data)
	if err != nil {
		return nil, nil, err
	}
	if strings.EqualFold(filepath.Ext(name), ".csv") {
		return readCSV(name, data)
	}
	m := &Model{}
	if err := fault.DecodeYAML(name, data, m); err != nil {
		return nil, nil, err
	}
	return m, func(path string) fault.Position { return fault.Nearest(name, data, path) }, nil
}
