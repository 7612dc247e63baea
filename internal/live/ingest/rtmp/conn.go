package rtmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/protocol/rtmp"
)

const (
	// ackWindow is what is asked of the peer for the little that is sent to it, as most servers do.
	ackWindow = 2_500_000
	// maxCommand bounds a message in bytes before anything is published; commands have some hundreds. What
	// connections that publish nothing can hold is bounded by it, and not by the size of a frame.
	maxCommand = 64 << 10
	// lingerTime and lingerBytes bound what is read from a peer that has been refused. Closing with
	// bytes unread would reset the connection, and the status might be lost with it.
	lingerTime  = 2 * time.Second
	lingerBytes = 64 << 20
	// farewellTime bounds how long a peer may take for the status that ends its connection from here.
	farewellTime = time.Second
)

var (
	errStopped = errors.New("the server is stopping")
	errKicked  = errors.New("the stream was ended by the server")
	errPanic   = errors.New("panic")
)

// statusError ends a connection with a status for the peer.
type statusError struct {
	reason      reason
	code        string
	description string
	err         error // what lies behind it, for the log
}

func (e *statusError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return e.description
}
func (e *statusError) Unwrap() error { return e.err }

// conn is one connection. Everything but interrupt is for its own goroutine.
type conn struct {
	server  *Server
	netConn net.Conn
	remote  string
	log     *slog.Logger
	reader  *rtmp.Reader
	writer  *rtmp.Writer

	app       string     // from connect
	appQuery  url.Values // of the app, where some encoders leave their credentials
	connected bool
	streams   uint32 // message streams created
	stream    uint32 // the one that is published on
	name      live.StreamName
	publisher *hub.Publisher
	demuxer   *demuxer
	watch     chan struct{} // closed to end the goroutine that watches the publisher
	deadline  time.Time

	mu    sync.Mutex
	cause error // why the connection is to end, from outside
}

func newConn(s *Server, netConn net.Conn) *conn {
	remote := netConn.RemoteAddr().String()
	return &conn{server: s, netConn: netConn, remote: remote, log: s.log.With("remote", remote)}
}

// interrupt ends the connection from another goroutine. What waits for the peer ends at once.
func (c *conn) interrupt(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
	}
	_ = c.netConn.SetReadDeadline(time.Unix(1, 0))
	_ = c.netConn.SetWriteDeadline(time.Now().Add(farewellTime))
}

// expect sets the time by which the peer must have sent what comes next.
func (c *conn) expect(within time.Duration) {
	now := time.Now()
	// Moving it on every message would cost more than the message.
	if left := c.deadline.Sub(now); left <= within && left > within-within/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.deadline = now.Add(within)
		_ = c.netConn.SetReadDeadline(c.deadline)
	}
}

func (c *conn) interrupted() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	defer c.netConn.Close()
	err := c.run(ctx)
	if cause := c.interrupted(); cause != nil {
		err = cause
	}
	published := c.name
	c.unpublish()
	why := c.tell(err)
	c.server.metrics.closed.WithLabelValues(string(why)).Inc()

	attributes := []any{"reason", why}
	if published != "" {
		attributes = append(attributes, "stream", published)
	}
	switch why {
	case reasonDone, reasonStopped, reasonKicked:
		c.log.Debug("RTMP connection closed", attributes...)
	default:
		c.log.Warn("RTMP connection closed", append(attributes, "error", err)...)
	}
}

// run returns why the connection is to end. A panic is an error of the one connection.
func (c *conn) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	c.expect(c.server.config.HandshakeTimeout)
	if err := rtmp.ServerHandshake(deadlineWriter{c}); err != nil {
		return err
	}
	c.writer = rtmp.NewWriter(deadlineWriter{c})
	c.reader = rtmp.NewReader(c.netConn, rtmp.ReaderSettings{
		MaxMessage: maxCommand,
		Ack:        func(received uint32) error { return c.send(rtmp.Uint32(rtmp.Acknowledgement, received)) },
	})
	for {
		if c.publisher != nil {
			c.expect(c.server.config.IdleTimeout)
		}
		m, err := c.reader.ReadMessage()
		if err != nil {
			return err
		}
		if err := c.handle(ctx, m); err != nil {
			return err
		}
	}
}

// deadlineWriter reads and writes the connection, with a deadline for each write.
type deadlineWriter struct{ c *conn }

func (d deadlineWriter) Read(b []byte) (int, error) { return d.c.netConn.Read(b) }

func (d deadlineWriter) Write(b []byte) (int, error) {
	d.c.mu.Lock()
	if d.c.cause == nil {
		_ = d.c.netConn.SetWriteDeadline(time.Now().Add(d.c.server.config.WriteTimeout))
	}
	d.c.mu.Unlock()
	return d.c.netConn.Write(b)
}

// send writes messages and flushes them.
func (c *conn) send(messages ...rtmp.Message) error {
	for _, m := range messages {
		if err := c.writer.WriteMessage(m); err != nil {
			return err
		}
	}
	return c.writer.Flush()
}

func (c *conn) handle(ctx context.Context, m rtmp.Message) error {
	switch m.Type {
	case rtmp.Audio, rtmp.Video:
		return c.handleMedia(m, time.Now())
	case rtmp.Aggregate:
		messages, err := m.Split()
		if err != nil {
			return &formatError{err}
		}
		received := time.Now()
		for _, m := range messages {
			if m.Type == rtmp.Audio || m.Type == rtmp.Video {
				if err := c.handleMedia(m, received); err != nil {
					return err
				}
			}
		}
		return nil
	case rtmp.CommandAMF0, rtmp.CommandAMF3:
		return c.handleCommand(ctx, m)
	case rtmp.DataAMF0, rtmp.DataAMF3:
		// What cannot be read is no reason to end a publication: nothing depends on it.
		if values, err := m.Values(); err == nil && c.demuxer != nil {
			c.demuxer.setMetadata(values)
		}
		return nil
	case rtmp.UserControl:
		if len(m.Payload) == 6 && m.Payload[0] == 0 && m.Payload[1] == rtmp.PingRequest {
			pong := append([]byte{0, rtmp.PingResponse}, m.Payload[2:]...)
			return c.send(rtmp.Message{Type: rtmp.UserControl, Payload: pong})
		}
		return nil
	default: // obeyed by the reader, or of no use
		return nil
	}
}

func (c *conn) handleMedia(m rtmp.Message, received time.Time) error {
	if c.demuxer == nil {
		return nil // after FCUnpublish some is still on its way
	}
	var err error
	if m.Type == rtmp.Video {
		err = c.demuxer.onVideo(m, received)
	} else {
		err = c.demuxer.onAudio(m, received)
	}
	var skipped *skipError
	var unsupported *unsupportedError
	var format *formatError
	switch {
	case errors.As(err, &skipped):
		c.server.metrics.skipped.WithLabelValues(skipped.reason).Inc()
		return nil
	case errors.As(err, &unsupported):
		return &statusError{reason: reasonUnsupported, code: "NetStream.Publish.Failed", description: err.Error()}
	case errors.As(err, &format):
		return &statusError{reason: reasonProtocol, code: "NetStream.Publish.Failed", description: err.Error()}
	case errors.Is(err, live.ErrClosed):
		return errKicked
	}
	return err
}

// unpublish ends the publication, if there is one.
func (c *conn) unpublish() {
	if c.publisher == nil {
		return
	}
	close(c.watch)
	_ = c.publisher.Close() // never fails
	c.publisher, c.demuxer, c.name = nil, nil, ""
}

// tell sends the peer the status that belongs to err, and returns the reason for the metrics.
func (c *conn) tell(err error) reason {
	var status *statusError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
	case errors.Is(err, errStopped):
		status = &statusError{reason: reasonStopped, code: "NetConnection.Connect.AppShutdown", description: err.Error()}
	case errors.Is(err, errKicked):
		status = &statusError{reason: reasonKicked, code: "NetStream.Publish.Failed", description: err.Error()}
	case errors.Is(err, rtmp.ErrTooLarge):
		status = &statusError{reason: reasonTooLarge, code: "NetStream.Publish.Failed", description: err.Error()}
	case errors.Is(err, errPanic):
		return reasonInternal
	case errors.Is(err, rtmp.ErrNotRTMP):
		return reasonNotRTMP
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return reasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isDisconnect(err):
		return reasonDone
	default:
		return reasonProtocol
	}
	if c.writer == nil || !c.connected {
		return status.reason
	}
	if c.sendStatus("error", status.code, status.description) == nil && status.reason != reasonStopped {
		c.linger()
	}
	return status.reason
}

// linger waits for the peer to take what was sent and to close, a limited time.
func (c *conn) linger() {
	half, ok := c.netConn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.mu.Lock()
	if !errors.Is(c.cause, errStopped) {
		_ = c.netConn.SetReadDeadline(time.Now().Add(lingerTime))
	}
	c.mu.Unlock()
	_, _ = io.Copy(io.Discard, io.LimitReader(c.netConn, lingerBytes))
}
