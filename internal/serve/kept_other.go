//go:build !linux

package serve

func kept() (synchronised, known bool) { return false, false }
