package serve

import (
	"context"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// killSwitch examines the file of the kill switch.
func (d Doctor) killSwitch(_ context.Context, k *chart) {
	file := d.Config.SwitchPath()
	const remedy = "let the account that runs demarc own the file and its folder; remove what others made there"
	if !file.Exists() {
		if folder := filepath.Dir(string(file)); unix.Access(folder, unix.W_OK|unix.X_OK) != nil {
			k.fail(SwitchUnusable, remedy, "%s cannot be made: the folder cannot be written", string(file))
			return
		}
		k.fine(SwitchOff, "%s will be made when demarc serve starts", string(file))
		return
	}
	if err := file.Usable(); err != nil {
		k.fault(SwitchUnusable, remedy, err)
		return
	}
	if thrown, why := file.Thrown(); thrown {
		k.warn(SwitchOn, "demarc enforce resume, once you have looked", "enforcement is paused: %s", why)
		return
	}
	k.fine(SwitchOff, "%s can be written, and says that enforcement runs", string(file))
}
