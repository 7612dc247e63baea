package cmcdtool

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// harEntry is what is wanted of an entry of log.entries (HAR 1.2).
type harEntry struct {
	Started string `json:"startedDateTime"`
	Request struct {
		Method  string `json:"method"`
		URL     string `json:"url"`
		Headers []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"headers"`
		PostData *struct {
			MimeType string `json:"mimeType"`
			Text     string `json:"text"`
			Encoding string `json:"encoding"` // "base64" by some programs
		} `json:"postData"`
	} `json:"request"`
}

// har reads a HAR file entry by entry.
func (r *Reader) har(found func(Piece) bool) error {
	bound := &boundReader{in: r.in}
	d := json.NewDecoder(bound)
	bound.from = d.InputOffset
	entries := 0
	err := each(d, '{', func(name string) error {
		if name != "log" {
			return skip(d)
		}
		return each(d, '{', func(name string) error {
			if name != "entries" {
				return skip(d)
			}
			return each(d, '[', func(string) error {
				entries++
				var e harEntry
				// Of an entry with an odd member the rest is there all the same.
				if err := d.Decode(&e); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
					return err
				}
				return r.harRequest(&e, entries, found)
			})
		})
	})
	switch {
	case errors.Is(err, errStop):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the HAR file is cut off after entry %d", entries)
	case err != nil:
		return fmt.Errorf("the HAR file cannot be read from entry %d on: %w", max(entries, 1), err)
	case entries == 0:
		return errors.New("the HAR file has no entries at log.entries")
	}
	return nil
}

// harRequest gives out what one entry carries: its query or headers, and what it posts.
func (r *Reader) harRequest(e *harEntry, entry int, found func(Piece) bool) error {
	q := &e.Request
	place := Place{Source: r.Source, Entry: entry, Time: e.Started, URL: withoutCMCD(q.URL)}
	header := make(http.Header)
	for _, h := range q.Headers {
		if isHeader(h.Name) {
			header.Add(h.Name, h.Value)
		}
	}
	p, carries := requestPiece(place, queryOf(q.URL), header)
	if carries && !found(p) {
		return errStop
	}
	if q.Method != http.MethodPost || q.PostData == nil || !isReport(q.URL, q.PostData.MimeType) {
		if !carries {
			r.Passed++
		}
		return nil
	}
	text := q.PostData.Text
	if strings.EqualFold(q.PostData.Encoding, "base64") {
		if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
			text = string(raw)
		}
	}
	if len(text) > maxLine {
		r.Passed++
		return nil
	}
	for _, p := range posted(text, q.PostData.MimeType) {
		place.Record = p.Record
		if p.Place = place; !found(p) {
			return errStop
		}
	}
	return nil
}

// posted returns the pieces of a body: several, if it has several JSON values one after another.
func posted(text, contentType string) []Piece {
	if begin := strings.TrimSpace(text); !strings.HasPrefix(begin, "{") && !strings.HasPrefix(begin, "[") {
		return []Piece{{Form: Body, Text: text, ContentType: contentType}}
	}
	whole := []Piece{{Form: JSON, Text: text, ContentType: contentType}}
	var pieces []Piece
	for p, err := range NewReader(strings.NewReader(text), "", JSON).Pieces() {
		if err != nil {
			return whole
		}
		pieces = append(pieces, Piece{Form: JSON, Text: p.Text, ContentType: contentType, Place: Place{Record: len(pieces) + 1}})
	}
	if len(pieces) < 2 {
		return whole
	}
	return pieces
}

// isReport reports whether what is posted is CMCD: by its media type, or because the path says so and
// the media type does not speak against it.
func isReport(address, contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		mediaType = ""
	}
	switch mediaType {
	case "application/cmcd", "text/cmcd":
		return true
	case "", "text/plain", "application/json", "application/octet-stream":
		path, _, _ := strings.Cut(address, "?")
		return strings.HasSuffix(path, "/cmcd") || strings.Contains(path, "/cmcd/")
	}
	return false
}

// each calls member for every member of the object, or element of the array, that comes next; member
// reads it, and is given the name that it has in an object.
func each(d *json.Decoder, bracket json.Delim, member func(name string) error) error {
	t, err := d.Token()
	if err == nil && t != bracket {
		err = fmt.Errorf("%v stands where a %v is expected", t, bracket)
	}
	for err == nil && d.More() {
		if t = nil; bracket == '{' {
			if t, err = d.Token(); err != nil {
				break
			}
		}
		name, _ := t.(string)
		err = member(name)
	}
	if err == nil {
		_, err = d.Token()
	}
	return err
}

// skip passes over the value that comes next, without ever having all of it.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// boundReader bounds how far the decoder may read ahead of what it has given out: that is what it
// holds in memory.
type boundReader struct {
	in   io.Reader
	read int64
	from func() int64
}

func (b *boundReader) Read(p []byte) (int, error) {
	if b.read-b.from() > maxEntry {
		return 0, fmt.Errorf("one value there is longer than %d MiB", maxEntry>>20)
	}
	n, err := b.in.Read(p)
	b.read += int64(n)
	return n, err
}
