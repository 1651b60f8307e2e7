package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"demarc/internal/fault"
	"demarc/internal/policy"
)

// readNetblocks adds the netblocks of the file that is named to those of the configuration, and holds all of them against each other.
func (c *Config) readNetblocks(file string, data []byte) error {
	c.inline = len(c.Netblocks)
	path, further := c.path(c.BlocksFile), []byte(nil)
	if c.BlocksFile != "" {
		var err error
		further, err = fault.ReadFile(path)
		switch missing := errors.Is(err, fs.ErrNotExist); {
		case missing && c.begins:
		case missing:
			return fault.New(fault.Config, "there is no file of netblocks %s", path).In(fault.Place(file, data, "$.netblocks_file")).Hinted("demarc netblock add begins one; a line [] is one without any")
		case err != nil:
			return err
		}
		blocks, err := parseNetblocks(path, further)
		if err != nil {
			return err
		}
		c.Netblocks = append(c.Netblocks, blocks...)
	}
	at := func(i int, key string) fault.Position {
		if i < c.inline {
			return fault.Nearest(file, data, fmt.Sprintf("$.netblocks[%d].%s", i, key))
		}
		return fault.Nearest(path, further, fmt.Sprintf("$[%d].%s", i-c.inline, key))
	}
	if i, key, f := policy.CheckNetblocks(c.Netblocks); f != nil {
		return f.In(at(i, key))
	}
	for i, b := range c.Netblocks {
		for j, name := range b.Vantages {
			k := slices.IndexFunc(c.Vantages, func(v Vantage) bool { return v.Name == name })
			switch {
			case k < 0:
				return fault.New(fault.Config, "there is no vantage point %q", name).In(at(i, fmt.Sprintf("vantages[%d]", j)))
			case !b.Visible(c.Vantages[k].Zone):
				return fault.New(fault.Config, "the netblock %s is not visible from the zone of vantage point %q", b.CIDR, name).In(at(i, fmt.Sprintf("vantages[%d]", j))).Hinted("name %s among its zones, or another vantage point", c.Vantages[k].Zone)
			}
		}
	}
	return nil
}

// parseNetblocks reads a list of netblocks; an empty document is an empty list.
func parseNetblocks(name string, data []byte) ([]policy.Netblock, error) {
	if len(strings.TrimSpace(comments.ReplaceAllString(string(data), ""))) == 0 {
		return nil, nil
	}
	var out []policy.Netblock
	err := fault.DecodeYAML(name, data, &out)
	return out, err
}

var (
	comments  = regexp.MustCompile(`(?m)^\s*#.*$`)
	emptyList = regexp.MustCompile(`(?m)^\s*\[\s*\]\s*$\n?`)
	firstItem = regexp.MustCompile(`(?m)^( *)- `)
	plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
)

// AddNetblock appends a netblock to the file that a configuration names for them, and gives that file's path. Comments and order
// stay; a file that is not there is begun. It refuses what the configuration would refuse, and a file that it cannot append to without changing what it says. A server
// that runs goes on with what it was started with.
func AddNetblock(config string, b policy.Netblock) (string, error) {
	c, _, err := load(config, &Config{begins: true})
	if err != nil {
		return "", err
	}
	line := netblockLine(b)
	if c.BlocksFile == "" {
		return "", fault.New(fault.Config, "the configuration names no file of netblocks").In(fault.Position{File: config}).
			Hinted("add netblocks_file: netblocks.yaml to it, and add it again; or write under netblocks: %s", line)
	}
	all := append(slices.Clone(c.Netblocks), b)
	if i, _, f := policy.CheckNetblocks(all); f != nil {
		if i < len(all)-1 {
			return "", f
		}
		return "", fault.New(fault.Usage, "%s", f.Message).Hinted("%s", f.Hint)
	}
	for _, name := range b.Vantages {
		k := slices.IndexFunc(c.Vantages, func(v Vantage) bool { return v.Name == name })
		if k < 0 || !b.Visible(c.Vantages[k].Zone) {
			return "", fault.New(fault.Usage, "no vantage point %q sees the netblock", name).Hinted("name one of the configuration, whose zone is among the netblock's")
		}
	}
	path := c.path(c.BlocksFile)
	was, err := fault.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, begin(path, line+"\n")
	}
	if err != nil {
		return "", err
	}
	text := appended(string(was), line)
	got, err := parseNetblocks(path, []byte(text))
	if err != nil || !slices.EqualFunc(got, all[c.inline:], sameNetblock) {
		return "", fault.New(fault.Config, "the file of netblocks can not be appended to").In(fault.Position{File: path}).Hinted("it is no plain list with one entry a line; write this by hand: %s", line)
	}
	return path, replace(path, was, []byte(text))
}

// begin writes a file that is not there yet. It holds no secret, and the server may be somebody else who reads it.
func begin(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // as the comment says
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.New(fault.Conflict, "%s was made by somebody else meanwhile", path).Hinted("try again")
	case err != nil:
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, err).Hinted("make its folder, and let this account write there")
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// appended puts an entry at the end of a list, indented as its first one.
func appended(text, line string) string {
	indent := ""
	if m := firstItem.FindStringSubmatch(text); m != nil {
		indent = m[1]
	} else {
		text = emptyList.ReplaceAllString(text, "")
	}
	end := "\n"
	if strings.Contains(text, "\r\n") {
		end = "\r\n"
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += end
	}
	return text + indent + line + end
}

func sameNetblock(a, b policy.Netblock) bool {
	return a.CIDR == b.CIDR && a.Holder == b.Holder && a.Every == b.Every && a.Aggregate == b.Aggregate && slices.Equal(a.Zones, b.Zones) && slices.Equal(a.Vantages, b.Vantages)
}

// netblockLine is the entry of a netblock in YAML. Words that YAML could take for something else stand in quotes.
func netblockLine(b policy.Netblock) string {
	word := func(s string) string {
		if plainWord.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
			return s
		}
		return strconv.Quote(s)
	}
	words := func(list []string) string {
		out := make([]string, len(list))
		for i, s := range list {
			out[i] = word(s)
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	out := "- {cidr: " + b.CIDR.String()
	if b.CIDR.Addr().Is6() {
		out = "- {cidr: " + strconv.Quote(b.CIDR.String())
	}
	out += ", holder: " + word(b.Holder)
	if len(b.Zones) > 0 {
		out += ", zones: " + words(b.Zones)
	}
	if len(b.Vantages) > 0 {
		out += ", vantages: " + words(b.Vantages)
	}
	if b.Every != 0 {
		out += ", every: " + b.Every.String()
	}
	if b.Aggregate {
		out += ", aggregate: true"
	}
	return out + "}"
}

// replace writes a file anew, whole or not at all, with the rights that it had; somebody else's change in between is not lost.
func replace(path string, was, now []byte) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return fault.New(fault.Config, "cannot read the file: %w", err).In(fault.Position{File: path})
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.New(fault.CannotLook, "cannot write beside %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(now)
	if err := errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, err)
	}
	if again, err := fault.ReadFile(path); err != nil || string(again) != string(was) {
		return fault.New(fault.Conflict, "%s was changed by somebody else meanwhile", path).Hinted("try again")
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fault.New(fault.CannotLook, "cannot write %s: %w", path, err)
	}
	return nil
}
