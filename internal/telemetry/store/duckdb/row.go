//go:build cgo && !noduckdb

package duckdb

import (
	"database/sql/driver"
	"math"
	"strings"
	"time"

	duck "github.com/duckdb/duckdb-go/v2"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// appendRequest appends the columns of r to row, in the order of the table.
func appendRequest(row []driver.Value, r *telemetry.Request) []driver.Value {
	row = append(row,
		duck.UUID(r.ID), r.Time.UTC(), text(r.Edge),
		client(r.Client), positive(int32(r.ClientPort)), text(r.UserAgent), text(r.Referer),
		text(r.Method), text(r.Host), text(r.Path), text(r.Query), text(r.Proto),
		text(r.Stream), text(r.Kind), text(r.Range),
		positive(int32(r.Status)), r.Bytes, text(r.ContentType),
		seconds(r.TTFB), seconds(r.Duration), r.Aborted,
		text(r.CacheStatus), text(r.MissReason), seconds(r.CollapsedWait),
		positive(int32(r.OriginStatus)), seconds(r.OriginTTFB), seconds(r.OriginDuration),
		r.HasCMCD,
	)
	if r.HasCMCD {
		row = append(appendUnpacked(append(row, text(r.CMCD.String())), &r.CMCD), int64(r.CMCD.Warnings))
	} else {
		row = appendNulls(row, 1+unpackedCount+1) // cmcd and cmcd_warnings are around the unpacked ones
	}
	row = append(row, text(r.Origin), text(r.OriginAddress), seconds(r.Queued), text(r.Tenant), text(r.Refusal))
	return appendTCP(row, &r.TCP)
}

const tcpCount = 10

// appendTCP appends what the kernel said. A count or time of zero is known as well as any other, if the kernel was
// asked; a rate or round trip of zero is one that has not been measured.
func appendTCP(row []driver.Value, t *telemetry.TCP) []driver.Value {
	if !t.Known() {
		return appendNulls(row, tcpCount)
	}
	return append(row,
		seconds(t.RTT), seconds(t.MinRTT), t.Sent, t.Retransmitted, t.Unsent, rate(t.DeliveryRate), t.AppLimited,
		t.Busy.Seconds(), t.RwndLimited.Seconds(), t.SndbufLimited.Seconds())
}

func appendNulls(row []driver.Value, n int) []driver.Value {
	for range n {
		row = append(row, nil)
	}
	return row
}

// appendReport appends the columns of r to row, in the order of the table.
func appendReport(row []driver.Value, r *telemetry.Report) []driver.Value {
	v := &r.CMCD
	row = append(row,
		duck.UUID(r.ID), r.Time.UTC(), text(r.Edge),
		client(r.Client), text(r.UserAgent), text(r.Path),
		strings.ToValidUTF8(v.Text(cmcd.KeyE), "\ufffd"), eventTime(v), text(v.String()),
	)
	row = appendUnpacked(row, v)
	row = append(row, count(v, cmcd.KeyBSA), scaled(v, cmcd.KeyBSDA, milli), int64(v.Warnings))
	if r.ClockOffset != nil {
		row = append(row, r.ClockOffset.Seconds())
	} else {
		row = append(row, nil)
	}
	var p telemetry.Playback
	if r.Playback != nil {
		p = *r.Playback
	}
	row = append(row,
		text(p.EventID), text(p.EventType), text(p.Customer), text(p.DeviceType), text(p.DeviceOS), text(p.Quality),
		text(p.Country), text(p.State), text(p.City), seconds(p.Watched))
	if p.Completion != nil {
		return append(row, *p.Completion)
	}
	return append(row, nil)
}

const unpackedCount = 21

// CMCD's milliseconds and kbit/s in the units of the store.
const (
	milli = 1e-3
	kilo  = 1e3
)

// appendUnpacked appends the keys of v that have a column. Of keys that are lists it takes the item
// for the record's own object type.
func appendUnpacked(row []driver.Value, v *cmcd.Values) []driver.Value {
	return append(row,
		int32(min(v.Version(), math.MaxInt32)), text(v.Text(cmcd.KeySID)), text(v.Text(cmcd.KeyCID)),
		text(v.Text(cmcd.KeyOT)), text(v.Text(cmcd.KeySF)), text(v.Text(cmcd.KeyST)), text(v.Text(cmcd.KeySTA)),
		scaled(v, cmcd.KeyBR, kilo), scaled(v, cmcd.KeyTB, kilo), scaled(v, cmcd.KeyMTP, kilo),
		scaled(v, cmcd.KeyBL, milli), scaled(v, cmcd.KeyD, milli), scaled(v, cmcd.KeyDL, milli),
		// A player leaves these two out when they are false.
		v.Bool(cmcd.KeyBS), v.Bool(cmcd.KeySU), scaled(v, cmcd.KeyPR, 1), scaled(v, cmcd.KeyRTP, kilo),
		scaled(v, cmcd.KeyLTC, milli), scaled(v, cmcd.KeyMSD, milli), scaled(v, cmcd.KeyPT, milli), count(v, cmcd.KeySN),
	)
}

func text(s string) driver.Value {
	if s == "" {
		return nil
	}
	return strings.ToValidUTF8(s, "\ufffd") // an HTTP client can send any bytes, DuckDB takes only UTF-8
}

func client(a interface {
	IsValid() bool
	String() string
},
) driver.Value {
	if !a.IsValid() {
		return nil
	}
	return a.String()
}

func positive(n int32) driver.Value {
	if n <= 0 {
		return nil
	}
	return n
}

// rate is in bit/s, as all rates are: DOUBLE.
func rate(bitsPerSecond int64) driver.Value {
	if bitsPerSecond <= 0 {
		return nil
	}
	return float64(bitsPerSecond)
}

func seconds(d time.Duration) driver.Value {
	if d == 0 {
		return nil
	}
	return d.Seconds()
}

func scaled(v *cmcd.Values, k cmcd.Key, factor float64) driver.Value {
	n, ok := v.Number(k)
	switch {
	case !ok:
		return nil
	case factor == milli:
		return n / 1000 // n * 0.001 would not be the nearest float
	default:
		return n * factor
	}
}

func count(v *cmcd.Values, k cmcd.Key) driver.Value {
	n, ok := v.Number(k)
	if !ok || math.Abs(n) > 1<<53 {
		return nil
	}
	return int64(math.Round(n))
}

// eventTime is the player's own clock, if it can be that of a clock: year 1970 to 9999.
func eventTime(v *cmcd.Values) driver.Value {
	ms, ok := v.Number(cmcd.KeyTS)
	if !ok || ms <= 0 || ms > 253402300799999 {
		return nil
	}
	return time.UnixMilli(int64(ms)).UTC()
}
