package lines

import (
	"encoding/json"
	"fmt"

	"demarc/internal/asset"
)

// odd is an object that a reader of the file would refuse, and why. It is left out by name, and the file then says that it lacks
// something: refused for it, the export of a whole cloud would be one tenant's to prevent.
type odd struct{ key, project, why string }

// mostOdd is how many objects of a kind are named that are left out.
const mostOdd = 20

// frame is what a line has besides its object, at most.
const frame = 64

// listed gives objects as they are written, and those that can not be.
func listed[T any](vs []T, key func(*T) string, check func(*T) error) ([]item, []odd, error) {
	out := make([]item, 0, len(vs))
	var odds []odd
	for i := range vs {
		wrong := sound(&vs[i], key, check)
		b, err := encode(&vs[i])
		if err != nil {
			return nil, nil, err
		}
		if wrong == nil && len(b) > MaxLine-frame {
			wrong = fmt.Errorf("it has %d bytes, and a line of this format holds at most %d", len(b), MaxLine)
		}
		if wrong == nil {
			out = append(out, item{key(&vs[i]), b})
			continue
		}
		var owned struct {
			Project string `json:"project"`
		}
		_ = json.Unmarshal(b, &owned) // what nobody owns has none
		odds = append(odds, odd{key(&vs[i]), owned.Project, wrong.Error()})
	}
	return out, odds, nil
}

// gaps names the objects of a kind that are left out.
func gaps(kind string, odds []odd) []asset.Gap {
	var out []asset.Gap
	for i, o := range odds {
		of := ""
		if o.project != "" {
			of = " of project " + o.project
		}
		if i == mostOdd {
			return append(out, asset.Gap{Kind: kind, Reason: fmt.Sprintf("%d more are left out", len(odds)-mostOdd)})
		}
		out = append(out, asset.Gap{Kind: kind, Reason: fmt.Sprintf("%s%s is left out: %s", o.key, of, o.why)})
	}
	return out
}
