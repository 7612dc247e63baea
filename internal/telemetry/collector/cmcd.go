package collector

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// cmcdAPI is CMCD over HTTP (CTA-5004-B §3.3), with the JSON of version 1 beside it.
func cmcdAPI() *api {
	return &api{
		name:  "cmcd",
		types: []string{"application/cmcd", "text/cmcd", "text/plain", "application/json"},
		parse: parseCMCD, answer: answerCMCD, anyType: true, inRequest: true,
		refuse: func(w http.ResponseWriter, _ *http.Request, status int, problem string) {
			http.Error(w, problem, status)
		},
	}
}

func parseCMCD(h *Handler, raw []byte, isJSON bool, _ *record, report *telemetry.Report) outcome {
	var err error
	if isJSON {
		for report.CMCD, err = range cmcd.ParseJSON(raw) {
			break // it is one object
		}
	} else {
		// A copy, as the values are parts of it and raw is used again.
		report.CMCD, err = cmcd.Parse(string(raw))
	}
	switch {
	case errors.Is(err, cmcd.ErrVersion):
		h.newVersion.Do(func() { // CTA-5004-B §6 wants it logged
			h.log.Warn("a player sends CMCD of a version that is not known", "user_agent", report.UserAgent)
		})
		return unknownVersion
	case errors.Is(err, cmcd.ErrNoKeys):
		return noKeys
	case err != nil:
		return notJSON
	case tooMuch(&report.CMCD, h.config.MaxKeys):
		return tooManyKeys
	}
	report.ID = recordID(report, raw)
	return taken
}

// hasCMCD reports whether a request carries CMCD as one for an object does.
func hasCMCD(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "Cmcd-") {
			return true
		}
	}
	return len(cmcd.StripQuery(r.URL.RawQuery)) < len(r.URL.RawQuery)
}

// takeRequest makes a report of a request that carries one in its query or headers: Shaka Player 4.16 to 5.1
// sends its events so, which is how the drafts of version 2 had it.
func (h *Handler) takeRequest(b *batch, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // or a 204 may be kept (RFC 9110 §15.3.5)
	now := h.now()
	b.records = append(b.records, record{report: -1, outcome: noKeys})
	if values, ok := cmcd.FromRequest(r.URL.RawQuery, r.Header); ok {
		record := &b.records[0]
		report := h.newReport(r)
		report.Time, report.CMCD = now, values
		text := values.Append(nil)
		switch {
		case len(text) > h.config.MaxRecordBytes:
			record.outcome = tooLong
		case tooMuch(&values, h.config.MaxKeys):
			record.outcome = tooManyKeys
		default:
			report.ID = recordID(&report, text)
			b.reports = append(b.reports, report)
			record.report, record.outcome = 0, taken
		}
	}
	h.keep(b, r, now)
}

// tooMuch reports whether a record has more keys than it may. The decoder keeps 64 custom keys, and
// warns of those behind them.
func tooMuch(v *cmcd.Values, limit int) bool {
	const kept = 64
	n := v.Len() + len(v.Custom)
	if len(v.Custom) >= kept && v.Warnings&cmcd.WarnTooMany != 0 {
		n++
	}
	return n > limit
}

// resendable is the version of the IDs that a record has again when it is sent again.
const resendable = 8

// recordID makes an ID of what a resend of the record has as well: session, target, sequence number,
// event and time. A record without a number or a session has no name of its own, so it is known by its
// whole text, and without a session by its sender as well. Without a time nothing tells a resend from a
// record that says the same again, and the ID is a new one.
func recordID(r *telemetry.Report, raw []byte) uuid.UUID {
	v := &r.CMCD
	ts, ok := v.Number(cmcd.KeyTS)
	if !ok {
		return uuid.Must(uuid.NewV7()) // fails only without a source of randomness
	}
	room := make([]byte, 0, 512)
	sid := v.Text(cmcd.KeySID)
	sn, numbered := v.Number(cmcd.KeySN)
	if numbered && sid != "" {
		room = appendAll(room, "number", sid, r.Path, v.Text(cmcd.KeyE))
		room = strconv.AppendFloat(append(room, 0), sn, 'f', -1, 64)
	} else {
		room = appendAll(room, "text", sid, r.Path)
		if sid == "" {
			room = append(append(room, 0), r.Client.String()...)
		}
		room = append(append(room, 0), raw...)
	}
	room = strconv.AppendFloat(append(room, 0), ts, 'f', -1, 64)
	return resendableID(ts, room)
}

// appendAll appends the texts, each ended by a zero, which none of them has.
func appendAll(b []byte, texts ...string) []byte {
	for _, text := range texts {
		b = append(append(b, text...), 0)
	}
	return b
}

// resendableID makes an ID of a time in Unix milliseconds, which leads it, and of a name (RFC 9562
// §5.8). 74 bits of the name's SHA-256 are in it.
func resendableID(ms float64, name []byte) uuid.UUID {
	const limit = 1<<48 - 1
	at := uint64(min(max(ms, 0), limit))
	id := hashID(name)
	for i := range 6 {
		id[i] = byte(at >> (8 * (5 - i)))
	}
	return id
}

// hashID makes an ID of a name alone: 122 bits of its SHA-256.
func hashID(name []byte) uuid.UUID {
	hash := sha256.Sum256(name)
	id := uuid.UUID(hash[:16])
	id[6] = id[6]&0x0f | resendable<<4
	id[8] = id[8]&0x3f | 0x80
	return id
}

// answerCMCD answers 204, or 410 if all was of sessions that are to send nothing, and tells more only to
// those who ask.
func answerCMCD(_ *Handler, b *batch, w http.ResponseWriter, r *http.Request) (status int) {
	s := b.summary()
	status = http.StatusNoContent
	if b.tell {
		status = http.StatusGone
	}
	if !prefersRepresentation(r.Header) {
		w.WriteHeader(status)
		return status
	}
	if status == http.StatusNoContent {
		status = http.StatusOK
	}
	w.Header().Set("Preference-Applied", "return=representation")
	w.Header().Set("Access-Control-Expose-Headers", "Preference-Applied")
	answer := cmcdAnswer{summary: s, Records: make([]recordAnswer, len(b.records)), LeftOut: b.tooMany + b.tooLong}
	for i := range b.records {
		answer.Records[i] = b.records[i].answer(i)
	}
	writeJSON(w, status, answer)
	return status
}

// cmcdAnswer is what those are told who ask what became of their records.
type cmcdAnswer struct {
	summary
	Records []recordAnswer `json:"records"`
	// LeftOut is how many records were dropped of which Records has nothing: those behind max_records
	// and max_body_bytes.
	LeftOut int `json:"left_out,omitempty"`
}

type recordAnswer struct {
	Index    int      `json:"index"`
	Result   string   `json:"result"` // "taken", "duplicate" or "dropped"
	Reason   outcome  `json:"reason,omitempty"`
	ID       string   `json:"id,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func (r *record) answer(index int) recordAnswer {
	a := recordAnswer{Index: index, Result: string(r.outcome), Warnings: r.warnings.Names()}
	switch r.outcome {
	case taken, duplicate:
		a.ID = r.id.String()
	default:
		a.Result, a.Reason = "dropped", r.outcome
	}
	return a
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil { // it is made of texts and numbers
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the player may have gone
}

// prefersRepresentation reports whether the request has the preference return=representation (RFC 7240
// §4.2).
func prefersRepresentation(h http.Header) bool {
	for _, field := range h["Prefer"] {
		for preference := range strings.SplitSeq(field, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			if strings.EqualFold(strings.TrimSpace(name), "return") && strings.EqualFold(value, "representation") {
				return true
			}
		}
	}
	return false
}
