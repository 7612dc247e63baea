package natsserver

import (
	"fmt"
	"log/slog"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog passes on what the server has to say. Its notices, of which a start alone makes dozens, are
// for debugging.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // has room for one
}

var _ server.Logger = serverLog{}

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("bus server notices", "text", fmt.Sprintf(format, v...))
}

func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn("bus server warns", "text", fmt.Sprintf(format, v...))
}

// Fatalf does not end the process, as the server's own log would: the server goes on without what it
// could not do, and [New] is told.
func (l serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	select {
	case l.fatal <- text:
	default:
		l.log.Error("bus server has a fatal error", "text", text)
	}
}

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("bus server has an error", "text", fmt.Sprintf(format, v...))
}

func (serverLog) Debugf(string, ...any) {}
func (serverLog) Tracef(string, ...any) {}
