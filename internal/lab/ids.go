package lab

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 9562 asks for it in version 5
	"encoding/hex"
	"fmt"
	"strings"
)

// uuidFor gives the identifier of a thing: version 5 from its name, or version 4 where the scenario wants
// random ones.
func (w *World) uuidFor(kind, name string) string {
	if w.scenario.RandomIDs {
		var b [16]byte
		_, _ = rand.Read(b[:])
		return format(b, 4)
	}
	sum := sha1.Sum([]byte("demarc lab\x00" + w.scenario.Name + "\x00" + kind + "\x00" + name)) //nolint:gosec // as above
	return format([16]byte(sum[:16]), 5)
}

func format(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// hexID is a UUID without dashes, which is how Keystone writes those of projects and users.
func (w *World) hexID(kind, name string) string {
	return strings.ReplaceAll(w.uuidFor(kind, name), "-", "")
}

// next gives a fresh name for things that come to be while the world runs.
func (w *World) next() string {
	w.counter++
	return fmt.Sprintf("born-%d", w.counter)
}

func randomToken() string {
	var b [24]byte
	_, _ = rand.Read(b[:])
	return "gAAAA" + hex.EncodeToString(b[:])
}
