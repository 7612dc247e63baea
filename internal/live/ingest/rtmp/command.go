package rtmp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"

	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/live/hub"
	"github.com/weir-stream/weir/internal/protocol/rtmp"
)

// application is the first segment of the path of every RTMP URL.
const application = "live"

// chunkSize is that of what is sent; all of it is small.
const chunkSize = 65536

// handleCommand answers a command (§7.2). Those that are not known are left without an answer.
func (c *conn) handleCommand(ctx context.Context, m rtmp.Message) error {
	values, err := m.Values()
	if err != nil {
		return &formatError{fmt.Errorf("read command: %w", err)}
	}
	if len(values) == 0 {
		return &formatError{errors.New("command without a name")}
	}
	name, _ := values[0].(string)
	argument := func(i int) any {
		if i < len(values) {
			return values[i]
		}
		return nil
	}
	transaction, _ := argument(1).(float64)
	if !c.connected && name != "connect" {
		return &formatError{fmt.Errorf("command %q before connect", shorten(name))}
	}
	switch name {
	case "connect":
		return c.connect(transaction, argument(2))
	case "releaseStream", "FCPublish":
		if transaction == 0 {
			return nil
		}
		return c.reply("_result", transaction, nil, nil)
	case "createStream":
		c.streams++
		return c.reply("_result", transaction, nil, float64(c.streams))
	case "publish":
		key, _ := argument(3).(string)
		return c.publish(ctx, m.StreamID, key)
	case "play", "play2":
		c.stream = m.StreamID
		return &statusError{
			reason: reasonRefused, code: "NetStream.Play.Failed",
			description: "playback over RTMP is not offered; use HLS at /live/<stream>/index.m3u8 or DASH at /live/<stream>/manifest.mpd",
		}
	case "FCUnpublish", "deleteStream", "closeStream":
		c.unpublish()
		return nil
	default:
		return nil
	}
}

// connect answers the first command (§7.2.1.1). Nothing of Enhanced RTMP is announced, so that encoders
// send what is supported.
func (c *conn) connect(transaction float64, argument any) error {
	if c.connected {
		return &formatError{errors.New("connect came twice")}
	}
	object, _ := argument.(rtmp.Object)
	app, query, _ := strings.Cut(object.String("app"), "?")
	app = strings.Trim(app, "/")
	first, _, _ := strings.Cut(app, "/")
	if first != application {
		description := fmt.Sprintf("application %q is not served here; publish to rtmp://host/%s/<stream>", shorten(app), application)
		err := c.reply("_error", transaction, nil, status("error", "NetConnection.Connect.Rejected", description))
		if err != nil {
			return err
		}
		c.linger()
		return &statusError{reason: reasonRefused, description: description}
	}
	c.app = app
	c.appQuery, _ = url.ParseQuery(query) // keeps what it can read
	c.connected = true
	err := c.writer.WriteMessage(rtmp.Uint32(rtmp.WindowAckSize, ackWindow))
	if err != nil {
		return err
	}
	if err := c.writer.WriteMessage(rtmp.PeerBandwidth(ackWindow)); err != nil {
		return err
	}
	if err := c.writer.WriteMessage(rtmp.Uint32(rtmp.SetChunkSize, chunkSize)); err != nil {
		return err
	}
	success := append(status("status", "NetConnection.Connect.Success", "connected"), rtmp.Property{Name: "objectEncoding", Value: 0.0})
	// Some clients look for a version of Adobe's server.
	server := rtmp.Object{{Name: "fmsVer", Value: "FMS/3,5,7,7009"}, {Name: "capabilities", Value: 31.0}}
	return c.reply("_result", transaction, server, success)
}

// publish begins the publication (§7.2.2.6).
func (c *conn) publish(ctx context.Context, stream uint32, key string) error {
	c.stream = stream
	if c.publisher != nil {
		return &statusError{
			reason: reasonRefused, code: "NetStream.Publish.BadName",
			description: "this connection publishes already; one connection carries one stream",
		}
	}
	path, rawQuery, _ := strings.Cut(key, "?")
	query, _ := url.ParseQuery(rawQuery)
	for k, v := range c.appQuery {
		query[k] = append(query[k], v...)
	}
	// FFmpeg puts all but the last segment into the app, OBS all but the first into the key.
	_, inApp, _ := strings.Cut(c.app, "/")
	name, err := live.ParseStreamName(strings.Trim(inApp+"/"+strings.Trim(path, "/"), "/"))
	if err != nil {
		return publishError(err, "")
	}
	if authorize := c.server.settings.Authorize; authorize != nil {
		if err := authorize(ctx, name, c.remote, query); err != nil {
			return publishError(err, name)
		}
	}
	publisher, err := c.server.settings.Hub.Publish(name, hub.PublisherInfo{Protocol: "rtmp", Address: c.remote})
	if err != nil {
		return publishError(err, name)
	}
	c.name, c.publisher = name, publisher
	c.demuxer = &demuxer{sink: publisher, metrics: c.server.metrics}
	c.reader.SetMaxMessage(c.server.config.MaxMessageBytes)
	c.watch = make(chan struct{})
	c.server.wg.Add(1) // the connection's own count is held, so this is not the first
	go func(end <-chan struct{}) {
		defer c.server.wg.Done()
		select {
		case <-publisher.Done():
			c.interruptUnless(end)
		case <-end:
		}
	}(c.watch)
	return c.sendStatus("status", "NetStream.Publish.Start", fmt.Sprintf("%q is being published", name))
}

// interruptUnless ends the connection, unless the publication was ended by the connection itself.
func (c *conn) interruptUnless(ended <-chan struct{}) {
	select {
	case <-ended:
	default:
		c.interrupt(errKicked)
	}
}

// publishError makes the status of a publication that is refused.
func publishError(err error, name live.StreamName) error {
	s := &statusError{reason: reasonRefused, code: "NetStream.Publish.Failed", description: err.Error(), err: err}
	switch {
	case errors.Is(err, live.ErrInvalidName):
		s.code = "NetStream.Publish.BadName"
	case errors.Is(err, live.ErrTaken):
		s.reason, s.code = reasonTaken, "NetStream.Publish.BadName"
		s.description = fmt.Sprintf("stream name %q is taken by another publisher", name)
	case errors.Is(err, live.ErrDenied):
		s.reason, s.code = reasonDenied, "NetStream.Publish.Denied"
	case errors.Is(err, live.ErrFull):
		s.reason = reasonFull
	case errors.Is(err, live.ErrClosed):
		s.reason, s.description = reasonStopped, "the server is stopping"
	default: // Authorize could not tell; its reasons are not the publisher's business
		s.code, s.description = "NetStream.Publish.Denied", "the server cannot check who may publish; try again later"
	}
	return s
}

// reply answers a command on the connection's own stream.
func (c *conn) reply(name string, transaction float64, values ...any) error {
	payload := rtmp.EncodeAMF0(append([]any{name, transaction}, values...)...)
	return c.send(rtmp.Message{Type: rtmp.CommandAMF0, Payload: payload})
}

// sendStatus sends an onStatus command on the stream that is published on (§7.2.2).
func (c *conn) sendStatus(level, code, description string) error {
	return c.send(rtmp.Message{
		Type: rtmp.CommandAMF0, StreamID: c.stream,
		Payload: rtmp.EncodeAMF0("onStatus", 0.0, nil, status(level, code, description)),
	})
}

func status(level, code, description string) rtmp.Object {
	return rtmp.Object{{Name: "level", Value: level}, {Name: "code", Value: code}, {Name: "description", Value: description}}
}

// shorten keeps what a peer has sent from filling the log.
func shorten(s string) string {
	const longest = 128
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

func isDisconnect(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
