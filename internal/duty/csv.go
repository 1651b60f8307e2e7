package duty

import "demarc/internal/fault"

func readCSV(name string, data []byte) (*Model, func(path string) fault.Position, error) {
	return nil, nil, fault.New(fault.Config, "no CSV yet")
}
