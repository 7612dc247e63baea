package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/collector/playback"
)

// batch is a body and what it holds, while it is being answered.
type batch struct {
	api  *api
	data []byte
	// cut says that the body went on behind data.
	cut bool
	// encoded says that the body is compressed, and was not read.
	encoded bool
	// records are what the body holds, in its order, up to max_records.
	records []record
	// reports are what could be read of them.
	reports []telemetry.Report
	// tooMany and tooLong are the records that are counted only: those behind the last of records, and
	// those behind max_body_bytes.
	tooMany, tooLong int

	// path is where the body was posted to.
	path string
	// silenced are the sessions of the body that are to send nothing, as far as they are few; tell says
	// that one of them is to be told so.
	silenced []sessionKey
	tell     bool

	// The IDs of the records so far: few are faster found without a map.
	few  []uuid.UUID
	many map[uuid.UUID]struct{}
}

// record is one record of a body.
type record struct {
	outcome  outcome
	report   int // its report, in batch.reports; -1 if it has none
	session  sessionKey
	id       uuid.UUID
	warnings cmcd.Warning
	// eventID is the sender's; problems and remarks are what is wrong with an event, so that it was
	// dropped, and what is odd about it.
	eventID           string
	problems, remarks []playback.Finding
}

// toTell notes a silenced session. A body is nearly always of one session; of more than a few the rest is not
// told.
func (b *batch) toTell(session sessionKey) {
	if len(b.silenced) < 8 && !slices.Contains(b.silenced, session) {
		b.silenced = append(b.silenced, session)
	}
}

func (b *batch) note(id uuid.UUID) {
	const few = 16
	switch {
	case b.many != nil:
		b.many[id] = struct{}{}
	case len(b.few) < few:
		b.few = append(b.few, id)
	default:
		b.many = make(map[uuid.UUID]struct{}, 4*few)
		for _, known := range b.few {
			b.many[known] = struct{}{}
		}
		b.many[id] = struct{}{}
	}
}

func (b *batch) has(id uuid.UUID) bool {
	if b.many != nil {
		_, ok := b.many[id]
		return ok
	}
	return slices.Contains(b.few, id)
}

// compact leaves only the reports that are to be kept, in their order.
func (b *batch) compact() {
	n := 0
	for i := range b.records {
		r := &b.records[i]
		if r.outcome != taken {
			continue
		}
		if r.report != n {
			b.reports[n] = b.reports[r.report]
			r.report = n
		}
		n++
	}
	clear(b.reports[n:])
	b.reports = b.reports[:n]
}

// reset makes the memory of b fit for another body. It is false if there is so much of it that it
// had better be given back.
func (b *batch) reset() bool {
	clear(b.reports) // their texts
	clear(b.records)
	*b = batch{data: b.data[:0], records: b.records[:0], reports: b.reports[:0], few: b.few[:0], silenced: b.silenced[:0]}
	return cap(b.data) <= 256<<10 && cap(b.reports) <= 256
}

// summary counts the records of a body by what became of them.
type summary struct {
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	Dropped    int `json:"dropped"`
	silenced   int // of those that were dropped

	bad int // of those that were dropped: whose fault is the sender's
}

func (b *batch) summary() summary {
	s := summary{Dropped: b.tooMany + b.tooLong, bad: b.tooMany + b.tooLong}
	for i := range b.records {
		switch b.records[i].outcome {
		case taken:
			s.Accepted++
		case duplicate:
			s.Duplicates++
		case silenced:
			s.Dropped++
			s.silenced++
		case sampled, shed, busFull, busFailed, internalError:
			s.Dropped++
		default:
			s.Dropped++
			s.bad++
		}
	}
	return s
}

// onlySilenced reports whether every record that could be read is of a session that is to send nothing.
func (b *batch) onlySilenced() bool {
	if len(b.silenced) == 0 {
		return false
	}
	s := b.summary()
	return s.Accepted+s.Duplicates+s.Dropped == s.silenced+s.bad
}

// encoding is what the body was compressed with, "" if it was not.
func encoding(header http.Header) string {
	encoding := header.Get("Content-Encoding")
	if strings.EqualFold(encoding, "identity") {
		return ""
	}
	return encoding
}

// checkType says what is wrong with the media type of the body, "" if nothing. Pages that cannot
// afford a preflight send text/plain, and a beacon may have no type at all.
func (a *api) checkType(header http.Header) string {
	if encoding := encoding(header); encoding != "" {
		return fmt.Sprintf("content encoding %q is not supported: send the body as it is", encoding)
	}
	value := header.Get("Content-Type")
	if value == "" || slices.Contains(a.types, value) { // as nearly all players have it
		return ""
	}
	mediaType, _, err := mime.ParseMediaType(value)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return fmt.Sprintf("content type %q cannot be read: expected %s", value, a.types[0])
	}
	if slices.Contains(a.types, mediaType) {
		return ""
	}
	last := len(a.types) - 1
	return fmt.Sprintf("content type %q is not supported: expected %s or %s", value, strings.Join(a.types[:last], ", "), a.types[last])
}

// read reads the body, up to its limit. The status is 0 if that went well, else the problem says what
// did not.
func (h *Handler) read(b *batch, w http.ResponseWriter, r *http.Request) (status int, problem string) {
	// A body that never ends would hold a connection for ever. The server may set deadlines of its
	// own with every read, so this one is held by a timer; what cannot have a deadline, a recorder in
	// a test, has none.
	control, began := http.NewResponseController(w), time.Now()
	timer := time.AfterFunc(h.config.BodyTimeout, func() { _ = control.SetReadDeadline(time.Now()) })
	defer timer.Stop()

	limit := int(h.config.MaxBodyBytes) + 1 // one more tells whether there is more
	for len(b.data) < limit {
		// The room grows with what has come, not with what the sender says will come.
		b.data = slices.Grow(b.data, max(512, min(len(b.data), limit-len(b.data))))
		n, err := r.Body.Read(b.data[len(b.data):min(cap(b.data), limit)])
		b.data = b.data[:len(b.data)+n]
		switch {
		case errors.Is(err, io.EOF) && len(b.data) == limit: // the last byte and the end come together
		case errors.Is(err, io.EOF):
			return 0, ""
		case errors.Is(err, os.ErrDeadlineExceeded), err == nil && time.Since(began) > h.config.BodyTimeout:
			w.Header().Set("Connection", "close")
			return http.StatusRequestTimeout, fmt.Sprintf("the body did not come within %v", h.config.BodyTimeout)
		case err != nil:
			w.Header().Set("Connection", "close")
			return http.StatusBadRequest, "the body could not be read"
		}
	}
	h.cutOff(b, r.Body, began)
	if b.cut {
		w.Header().Set("Connection", "close")
	}
	return 0, ""
}

// cutOff deals with a body that is longer than its limit. It reads on for as much again: a sender that
// is still sending might not see the answer, and send everything again; and so the records can be
// counted that are left out.
func (h *Handler) cutOff(b *batch, rest io.Reader, began time.Time) {
	var lines lineCounter
	whole := int(h.config.MaxBodyBytes)
	if !b.isJSON() { // a record is whole with its line feed
		whole = bytes.LastIndexByte(b.data, '\n') + 1 // which may be the byte behind the limit
	}
	lines.add(b.data[whole:])
	piece := make([]byte, 16<<10)
	for left := h.config.MaxBodyBytes; left > 0 && time.Since(began) <= h.config.BodyTimeout; {
		n, err := rest.Read(piece)
		lines.add(piece[:n])
		left -= int64(n)
		if err != nil {
			break
		}
	}
	b.data, b.cut, b.tooLong = b.data[:whole], lines.n > 0, lines.n
}

// lineCounter counts lines that are not empty.
type lineCounter struct {
	n    int
	text bool // whether the last line so far has been counted
}

func (c *lineCounter) add(p []byte) {
	for _, b := range p {
		switch {
		case b == '\n':
			c.text = false
		case !c.text && b != ' ' && b != '\t' && b != '\r':
			c.text = true
			c.n++
		}
	}
}

// isJSON reports whether the body looks like JSON: no record of CMCD begins like that.
func (b *batch) isJSON() bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(b.data, byteOrderMark), blanks+"\n")
	return b.api.jsonOnly || len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

var byteOrderMark = []byte("\xef\xbb\xbf")
