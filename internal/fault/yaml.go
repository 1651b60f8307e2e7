package fault

import (
	"errors"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// MaxFile is the largest file an operator's settings may have, in bytes.
const MaxFile = 4 << 20

// DecodeYAML reads one strict YAML document into v: an unknown key, a wrong type, a repeated key, or a text without quotes that
// YAML takes for a number and writes anew, is a Config fault with file, line and column. The name is only for the message.
func DecodeYAML(name string, data []byte, v any, opts ...yaml.DecodeOption) error {
	if len(data) > MaxFile {
		return New(Config, "the file has %d bytes", len(data)).In(Position{File: name}).Hinted("at most %d", MaxFile)
	}
	data, err := Text(name, data)
	if err != nil {
		return err
	}
	var toks token.Tokens
	if err := calmly(name, func() error {
		toks = lexer.Tokenize(string(data))
		return tooDeep(name, toks)
	}); err != nil {
		return err
	}
	opts = append([]yaml.DecodeOption{yaml.Strict(), yaml.DisallowUnknownField(), yaml.CustomUnmarshaler(readPrefix), yaml.CustomUnmarshaler(readAddr), yaml.CustomUnmarshaler(readTime)}, opts...)
	return calmly(name, func() error {
		if err := decode(name, data, v, opts); err != nil {
			return err
		}
		if slices.ContainsFunc(toks, rewritten) { // else the document need not be parsed again
			if f := misread(name, data, reflect.TypeOf(v)); f != nil {
				return f
			}
		}
		return nil
	})
}

// calmly does something with the decoder, which panics on some documents that nobody writes in earnest.
func calmly(name string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = New(Config, "the document cannot be decoded: %v", p).In(Position{File: name}).Hinted("leave out tags, anchors and aliases")
		}
	}()
	return do()
}

func decode(name string, data []byte, v any, opts []yaml.DecodeOption) error {
	err := yaml.UnmarshalWithOptions(data, v, opts...)
	if err == nil {
		return nil
	}
	at := Position{File: name}
	msg := err.Error()
	var ye yaml.Error
	if errors.As(err, &ye) {
		msg = ye.GetMessage()
		if tok := ye.GetToken(); tok != nil && tok.Position != nil {
			at.Line, at.Col = tok.Position.Line, tok.Position.Column
		}
	}
	if f := explain(name, data, reflect.TypeOf(v), opts); f != nil {
		return f
	}
	if at.Line == 0 {
		at = whereQuoted(at, data, err.Error())
	}
	if at.File == "" {
		at.File = name
	}
	if f, ok := Of(err); ok {
		return f.In(at)
	}
	f := New(Config, "%s", msg).In(at)
	f.Cause = err
	return f
}

// maxDepth is how deep a document may be nested. The parser's time grows with the square of the depth, so that a small file
// could keep us for hours; no settings of ours are nested as deep as ten.
const maxDepth = 64

// tooDeep refuses a document that is nested deeper than that, by its tokens alone.
func tooDeep(name string, toks token.Tokens) error {
	depth, line, entries := 0, 0, 0
	for _, tok := range toks {
		switch tok.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			if tok.Position.Line != line {
				line, entries = tok.Position.Line, 0
			}
			entries++
		default:
		}
		if depth > maxDepth || entries > maxDepth || tok.Position.IndentNum > 4*maxDepth {
			return New(Config, "the document is nested too deep").In(Position{File: name, Line: tok.Position.Line, Col: tok.Position.Column}).Hinted("at most %d levels", maxDepth)
		}
	}
	return nil
}

var quoted = regexp.MustCompile(`"([^"]+)"`)

// whereQuoted finds the value that a message quotes, where the decoder lost its place: a type that reads itself does not know
// where it stands. A value that the document holds twice is not guessed at.
func whereQuoted(at Position, data []byte, msg string) Position {
	m := quoted.FindStringSubmatch(msg)
	if m == nil {
		return at
	}
	found := at
	for _, tok := range lexer.Tokenize(string(data)) {
		if tok.Value != m[1] || tok.Position == nil {
			continue
		}
		if found.Line != 0 {
			return at
		}
		found.Line, found.Col = tok.Position.Line, tok.Position.Column
	}
	return found
}

// ReadFile reads a file of settings, MaxFile bytes at most, as Text takes it in: a larger one is refused without being read whole.
func ReadFile(path string) ([]byte, error) {
	at := Position{File: path}
	f, err := os.Open(path)
	if err != nil {
		return nil, New(Config, "cannot read the file: %w", err).In(at)
	}
	defer func() { _ = f.Close() }()
	if i, err := f.Stat(); err == nil && i.IsDir() {
		return nil, New(Config, "this is a directory").In(at).Hinted("name the file in it")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return nil, New(Config, "cannot read the file: %w", err).In(at)
	case len(data) > MaxFile:
		return nil, New(Config, "the file is larger than settings may be").In(at).Hinted("at most %d bytes", MaxFile)
	}
	return Text(path, data)
}

// ReadYAML reads a strict YAML file.
func ReadYAML(path string, v any, opts ...yaml.DecodeOption) error {
	data, err := ReadFile(path)
	if err != nil {
		return err
	}
	return DecodeYAML(path, data, v, opts...)
}
