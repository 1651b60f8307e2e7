package fault

import (
	"bytes"
	"unicode/utf8"
)

// mark is the byte order mark that editors on Windows put before a text in UTF-8 (YAML 1.2 section 5.2 allows it).
var mark = []byte("\ufeff")

// otherEncodings are the marks of UTF-32 and UTF-16, the longer ones first.
var otherEncodings = []struct{ mark, name string }{
	{"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\xfe\xff", "UTF-32"}, {"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"},
}

// Text is how every text file of an operator is taken in: without the byte order mark of UTF-8, and refused with its place where it is
// not UTF-8 or holds a NUL. What the file says stays out of the message, for it may be a secret. The name is only for the message.
func Text(name string, data []byte) ([]byte, error) {
	for _, e := range otherEncodings {
		if bytes.HasPrefix(data, []byte(e.mark)) {
			return nil, New(Config, "the file is %s", e.name).In(Position{File: name}).Hinted("save it as UTF-8")
		}
	}
	data = bytes.TrimPrefix(data, mark)
	if at := bytes.IndexByte(data, 0); at >= 0 {
		return nil, New(Config, "the file holds a NUL character").In(placeOf(name, data, at)).Hinted("leave it out, or save the file as UTF-8")
	}
	for at := 0; at < len(data); {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			return nil, New(Config, "the file is not UTF-8").In(placeOf(name, data, at)).Hinted("save it as UTF-8; in a spreadsheet, as CSV UTF-8")
		}
		at += n
	}
	return data, nil
}

func placeOf(name string, data []byte, at int) Position {
	before := data[:at]
	return Position{File: name, Line: 1 + bytes.Count(before, []byte("\n")), Col: at - bytes.LastIndexByte(before, '\n')}
}
