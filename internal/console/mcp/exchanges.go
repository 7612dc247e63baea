package mcp

import (
	"slices"
	"strconv"

	"github.com/weir-stream/weir/internal/analytics"
)

// exchangeColumn is a column of the table of requests.
type exchangeColumn struct {
	name string
	// rare says that the column is left out where no request has a value for it.
	rare bool
	of   func(e *analytics.Exchange) string
}

func exchangeColumns() []exchangeColumn {
	always := func(name string, of func(e *analytics.Exchange) string) exchangeColumn {
		return exchangeColumn{name: name, of: of}
	}
	rare := func(name string, of func(e *analytics.Exchange) string) exchangeColumn {
		return exchangeColumn{name, true, of}
	}
	tcp := func(name string, of func(t *analytics.TCP) string) exchangeColumn {
		return rare(name, func(e *analytics.Exchange) string {
			if e.TCP == nil {
				return ""
			}
			return of(e.TCP)
		})
	}
	player := func(name string, of func(r *analytics.Response) *float64) exchangeColumn {
		return rare(name, func(e *analytics.Exchange) string {
			if e.Response == nil {
				return ""
			}
			return optional(of(e.Response))
		})
	}
	return []exchangeColumn{
		always("time", func(e *analytics.Exchange) string { return clock(e.Time) }),
		always("path", func(e *analytics.Exchange) string { return e.Path }),
		always("kind", func(e *analytics.Exchange) string { return e.Kind }),
		always("type", func(e *analytics.Exchange) string { return e.ObjectType }),
		always("status", func(e *analytics.Exchange) string { return strconv.Itoa(e.Status) }),
		rare("refusal", func(e *analytics.Exchange) string { return e.Refusal }),
		rare("tenant", func(e *analytics.Exchange) string { return e.Tenant }),
		always("bytes", func(e *analytics.Exchange) string { return strconv.FormatInt(e.Bytes, 10) }),
		always("cache", func(e *analytics.Exchange) string { return e.CacheStatus }),
		always("miss_reason", func(e *analytics.Exchange) string { return e.MissReason }),
		always("ttfb_s", func(e *analytics.Exchange) string { return number(e.TTFB) }),
		always("duration_s", func(e *analytics.Exchange) string { return number(e.Duration) }),
		rare("collapsed_wait_s", func(e *analytics.Exchange) string { return ifAny(e.CollapsedWait) }),
		rare("queued_s", func(e *analytics.Exchange) string { return ifAny(e.Queued) }),
		rare("origin", func(e *analytics.Exchange) string { return e.Origin }),
		always("origin_ttfb_s", func(e *analytics.Exchange) string { return number(e.OriginTTFB) }),
		always("aborted", func(e *analytics.Exchange) string { return strconv.FormatBool(e.Aborted) }),
		always("bitrate_bps", func(e *analytics.Exchange) string { return number(e.Bitrate) }),
		always("buffer_s", func(e *analytics.Exchange) string { return optional(e.BufferLength) }),
		always("starved", func(e *analytics.Exchange) string { return strconv.FormatBool(e.BufferStarved) }),
		tcp("rtt_s", func(t *analytics.TCP) string { return number(t.RTT) }),
		tcp("min_rtt_s", func(t *analytics.TCP) string { return number(t.MinRTT) }),
		tcp("sent_bytes", func(t *analytics.TCP) string { return strconv.FormatInt(t.Sent, 10) }),
		tcp("retransmitted_bytes", func(t *analytics.TCP) string { return strconv.FormatInt(t.Retransmitted, 10) }),
		tcp("delivery_rate_bps", func(t *analytics.TCP) string { return ifAny(t.DeliveryRate) }),
		tcp("app_limited", func(t *analytics.TCP) string { return strconv.FormatBool(t.AppLimited) }),
		tcp("busy_s", func(t *analytics.TCP) string { return number(t.Busy) }),
		tcp("rwnd_limited_s", func(t *analytics.TCP) string { return number(t.RwndLimited) }),
		player("player_ttfb_s", func(r *analytics.Response) *float64 { return r.TTFB }),
		player("player_ttlb_s", func(r *analytics.Response) *float64 { return r.TTLB }),
	}
}

// ifAny writes a number of which zero, and what would be written as zero, is not known or nothing to speak of.
func ifAny(v float64) string {
	if text := number(v); text != "0" {
		return text
	}
	return ""
}

// exchanges writes a table of requests under a title.
func (s *sheet) exchanges(title string, list []analytics.Exchange) {
	columns := slices.DeleteFunc(exchangeColumns(), func(c exchangeColumn) bool {
		return c.rare && !slices.ContainsFunc(list, func(e analytics.Exchange) bool { return c.of(&e) != "" })
	})
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	rows := make([][]string, len(list))
	for i := range list {
		for _, c := range columns {
			rows[i] = append(rows[i], c.of(&list[i]))
		}
	}
	s.table(title, header, rows)
}
