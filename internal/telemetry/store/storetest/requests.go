package storetest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/telemetry"
)

// firstZero returns the name of the first field of a struct, or of one in it, that is the zero value; "" if there is
// none.
func firstZero(v reflect.Value, name string) string {
	if v.IsZero() {
		return name
	}
	if v.Kind() != reflect.Struct || v.Type().PkgPath() != reflect.TypeFor[telemetry.Request]().PkgPath() {
		return ""
	}
	for i := range v.NumField() {
		if zero := firstZero(v.Field(i), name+"."+v.Type().Field(i).Name); zero != "" {
			return zero
		}
	}
	return ""
}

// The kernel that was asked and had nothing to complain of is told from the one that was not asked.
func testTCP(t *testing.T, s Store) {
	quiet, notAsked, noRate := request(t, "s", 0), request(t, "s", 1), request(t, "s", 2)
	quiet.TCP = telemetry.TCP{RTT: time.Millisecond, Sent: 500}
	notAsked.TCP = telemetry.TCP{}
	noRate.TCP = telemetry.TCP{Sent: 500}
	want := []telemetry.Request{quiet, notAsked, noRate}
	mustAppend(t, s, telemetry.Batch{Requests: want})
	got, err := s.Records(context.Background(), []string{"s"}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Requests, same); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	const columns = "SELECT tcp_rtt, tcp_min_rtt, tcp_sent, tcp_retransmitted, tcp_unsent, tcp_delivery_rate, tcp_app_limited, " +
		"tcp_busy, tcp_rwnd_limited, tcp_sndbuf_limited FROM requests WHERE CAST(id AS VARCHAR) = ?"
	compare(t, row(t, s, columns, quiet.ID.String()), map[string]any{
		"tcp_rtt": 0.001, "tcp_min_rtt": nil, "tcp_sent": int64(500), "tcp_retransmitted": int64(0), "tcp_unsent": int64(0),
		"tcp_delivery_rate": nil, "tcp_app_limited": false, "tcp_busy": 0.0, "tcp_rwnd_limited": 0.0, "tcp_sndbuf_limited": 0.0,
	})
	for name, value := range row(t, s, columns, notAsked.ID.String()) {
		if value != nil {
			t.Errorf("column %s is %v where the kernel was not asked, want NULL", name, value)
		}
	}
	compare(t, row(t, s, columns, noRate.ID.String()), map[string]any{"tcp_rtt": nil, "tcp_sent": int64(500), "tcp_delivery_rate": nil})
}
