package cmcdtool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// What is held in memory at a time.
const (
	maxLine  = 1 << 20  // bytes of a line, a body, a JSON value, or a block of header lines
	maxEntry = 64 << 20 // bytes of an entry of a HAR file, which has the response's body in it
)

// Place says where a piece of CMCD was found.
type Place struct {
	Source string `json:"source,omitempty"` // the file; not for arguments and standard input
	Line   int    `json:"line,omitempty"`   // or number of the argument, from 1
	Entry  int    `json:"entry,omitempty"`  // of a HAR file, from 1
	Record int    `json:"record,omitempty"` // of a body or JSON array, from 1
	Time   string `json:"time,omitempty"`   // of a HAR file's entry, as it is written there
	URL    string `json:"url,omitempty"`    // of the request, without its CMCD
}

// Piece is what one request carries, as it was found.
type Piece struct {
	Place
	Form Form // never HAR
	// RawQuery and Header are those of the request, for [URL], [Query] and [Headers].
	RawQuery string
	Header   http.Header
	// Text is what is read as a [Record], [Body] or [JSON].
	Text string
	// ContentType is the media type of a body, "" if it is not known.
	ContentType string
}

// NewPiece returns the piece that a text is in a form other than [HAR]: of [Headers] the header lines
// of one request.
func NewPiece(form Form, text, contentType string) Piece {
	p := Piece{Form: form, Text: text, ContentType: contentType}
	switch form {
	case URL:
		p.Text, p.RawQuery, p.URL = "", queryOf(text), withoutCMCD(text)
	case Query:
		p.Text, p.RawQuery = "", strings.TrimPrefix(text, "?")
	case Headers:
		p.Text, p.Header = "", make(http.Header)
		for line := range strings.SplitSeq(text, "\n") {
			if name, value, ok := headerLine(strings.TrimSpace(line)); ok && isHeader(name) {
				p.Header.Add(name, value)
			}
		}
	default:
	}
	return p
}

// Reader finds the pieces of an input.
type Reader struct {
	Source string // for the places of the pieces
	As     Form   // the form of the input, "" to find it out
	// Passed counts what has no CMCD: lines, requests, entries.
	Passed int

	in    *bufio.Reader
	line  int
	ahead []string // lines that have been looked at, and not been taken yet
	end   error    // why there are no more behind those
}

// NewReader returns a reader of in.
func NewReader(in io.Reader, source string, as Form) *Reader {
	return &Reader{Source: source, As: as, in: bufio.NewReaderSize(in, 64<<10)}
}

// Pieces iterates over the pieces. An error ends it.
func (r *Reader) Pieces() iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		// The end of the iteration by its user is no error.
		if err := r.read(func(p Piece) bool { return yield(p, nil) }); err != nil && !errors.Is(err, errStop) {
			yield(Piece{}, r.at(err))
		}
	}
}

// errStop says that no more pieces are wanted.
var errStop = errors.New("stop")

func (r *Reader) at(err error) error {
	if r.Source == "" {
		return err
	}
	return fmt.Errorf("%s: %w", r.Source, err)
}

func (r *Reader) read(found func(Piece) bool) error {
	if mark, _ := r.in.Peek(3); string(mark) == "\ufeff" {
		_, _ = r.in.Discard(len(mark))
	}
	switch {
	case r.As == HAR, r.As == "" && r.beginsHAR():
		return r.har(found)
	case r.As == Body:
		return r.body(found)
	default:
		return r.lines(found)
	}
}

// beginsHAR reports whether the input begins as every known program begins a HAR file.
func (r *Reader) beginsHAR() bool {
	start, _ := r.in.Peek(1024)
	rest, ok := strings.CutPrefix(strings.TrimLeft(string(start), " \t\r\n"), "{")
	if !ok {
		return false
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t\r\n"), `"log"`)
	return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), ":")
}

func (r *Reader) body(found func(Piece) bool) error {
	body, err := io.ReadAll(io.LimitReader(r.in, maxLine+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxLine:
		return fmt.Errorf("the body is longer than %d bytes", maxLine)
	case len(strings.TrimSpace(string(body))) == 0:
		r.Passed++
		return nil
	}
	found(Piece{Place: Place{Source: r.Source}, Form: Body, Text: string(body)})
	return nil
}

// next takes the next line, without its end, or returns [io.EOF].
func (r *Reader) next() (string, error) {
	line, err := r.peek(0)
	if err == nil {
		r.take(1)
	}
	return line, err
}

func (r *Reader) take(n int) { r.ahead, r.line = r.ahead[n:], r.line+n }

// peek returns the line that has n lines between it and the last that was taken.
func (r *Reader) peek(n int) (string, error) {
	for len(r.ahead) <= n && r.end == nil {
		var line string
		if line, r.end = r.fetch(); r.end == nil {
			r.ahead = append(r.ahead, line)
		}
	}
	if n < len(r.ahead) {
		return r.ahead[n], nil
	}
	return "", r.end
}

func (r *Reader) fetch() (string, error) {
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		if len(line)+len(part) > maxLine+2 { // a line may end with two bytes more
			return "", fmt.Errorf("line %d is longer than %d bytes", r.line+len(r.ahead)+1, maxLine)
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return "", err
		case err != nil && len(line) == 0:
			return "", io.EOF
		}
		return strings.TrimSpace(string(line)), nil
	}
}

func (r *Reader) lines(found func(Piece) bool) error {
	var open *block
	flush := func() error {
		if open == nil {
			return nil
		}
		p, ok := open.piece()
		open = nil
		if !ok {
			r.Passed++
			return nil
		}
		if !found(p) {
			return errStop
		}
		return nil
	}
	for {
		line, err := r.next()
		if err != nil {
			if ferr := flush(); ferr != nil || errors.Is(err, io.EOF) {
				return ferr
			}
			return err
		}
		text, quoted := unquote(line)
		if open != nil {
			if open.quoted == quoted {
				taken, err := open.take(text)
				if err != nil {
					return fmt.Errorf("line %d: %w", r.line, err)
				}
				if taken {
					continue
				}
			}
			if err := flush(); err != nil {
				return err
			}
			if text == "" {
				continue
			}
		}
		if open = r.block(text, quoted); open != nil {
			if _, err := open.take(text); err != nil {
				return fmt.Errorf("line %d: %w", r.line, err)
			}
			continue
		}
		if err := r.single(line, found); err != nil {
			return err
		}
	}
}

// single takes a line that stands for itself, and what follows it if it begins a JSON value.
func (r *Reader) single(line string, found func(Piece) bool) error {
	p := Piece{Place: Place{Source: r.Source, Line: r.line}, Form: r.As, Text: line}
	switch {
	case line == "":
		return nil
	case r.As == JSON, r.As == "" && beginsJSON(line):
		if taken, err := r.json(p, found); taken || err != nil {
			return err
		}
		p.Form, p.Text = detectArgument(line)
	case r.As == Headers:
		r.Passed++
		return nil
	case r.As == URL, r.As == Query:
		if at := argument(line); at >= 0 {
			_, p.Text = cut(line, at)
		} else if r.As == Query {
			p.Text = "CMCD=" + line // the value alone, as some logs have it in a column of its own
		}
	case r.As == "":
		p.Form, p.Text = detect(line)
	}
	return r.give(p, found)
}

// give gives out a piece of a line, if there is CMCD in it.
func (r *Reader) give(p Piece, found func(Piece) bool) error {
	switch p.Form {
	case URL:
		p.URL, p.RawQuery, p.Text = withoutCMCD(p.Text), queryOf(p.Text), ""
	case Query:
		p.RawQuery, p.Text = p.Text, ""
	default:
	}
	if p.Text == "" && argument(p.RawQuery) < 0 {
		r.Passed++
		return nil
	}
	if !found(p) {
		return errStop
	}
	return nil
}

// unquote takes off the sign that curl -v and others set before the lines that a client sends.
func unquote(line string) (text string, quoted bool) {
	if line == ">" {
		return "", true
	}
	text, quoted = strings.CutPrefix(line, "> ")
	return strings.TrimSpace(text), quoted
}

// block is the head of a request, or as much of it as there is.
type block struct {
	place  Place
	quoted bool
	query  string
	header http.Header
	empty  bool // nothing has been taken yet
	bytes  int
}

// block returns a new block if line can begin one, else nil.
func (r *Reader) block(line string, quoted bool) *block {
	if r.As != "" && r.As != Headers {
		return nil
	}
	name, _, isHeaderLine := headerLine(line)
	_, isRequest := requestLine(line)
	if !isRequest && (!isHeaderLine || r.As == "" && !isHeader(name)) {
		return nil
	}
	return &block{place: Place{Source: r.Source, Line: r.line}, quoted: quoted, header: make(http.Header), empty: true}
}

// take takes a line if it belongs to the block. An empty line ends a block.
func (b *block) take(line string) (bool, error) {
	if b.bytes += len(line); b.bytes > maxLine {
		return false, fmt.Errorf("the header lines of one request are longer than %d bytes; an empty line ends a request", maxLine)
	}
	if target, ok := requestLine(line); ok {
		if !b.empty {
			return false, nil
		}
		b.query, b.place.URL, b.empty = queryOf(target), withoutCMCD(target), false
		return true, nil
	}
	name, value, ok := headerLine(line)
	if !ok {
		return false, nil
	}
	b.empty = false
	if isHeader(name) {
		b.header.Add(name, value)
	}
	return true, nil
}

// piece returns what the block carries, if that is CMCD.
func (b *block) piece() (Piece, bool) { return requestPiece(b.place, b.query, b.header) }

// requestPiece returns what a request carries, if that is CMCD.
func requestPiece(place Place, rawQuery string, header http.Header) (Piece, bool) {
	p := Piece{Place: place, Form: Headers, RawQuery: rawQuery, Header: header}
	if len(header) == 0 {
		p.Form = URL
	}
	return p, len(header) > 0 || argument(rawQuery) >= 0
}
