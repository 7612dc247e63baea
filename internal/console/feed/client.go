package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"
)

// The bounds of what a client may send: the size of a message, and the number of answers that wait
// for it. Answers beyond that are dropped: who does not read need not be told.
const (
	maxMessage = 4 << 10
	maxAnswers = 8
)

// client is one connection.
type client struct {
	config  Config
	metrics *metrics
	// newest holds the newest snapshot that has not been sent. Only offer fills it, and only one
	// goroutine offers at a time, so that replacing the old one cannot fail.
	newest  chan []message
	answers chan message
}

func newClient(config Config, m *metrics) *client {
	return &client{config: config, metrics: m, newest: make(chan []message, 1), answers: make(chan message, maxAnswers)}
}

// offer puts messages in the place of what waits, and reports whether something did.
func (c *client) offer(messages []message) (replaced bool) {
	select {
	case <-c.newest:
		replaced = true
	default:
	}
	c.newest <- messages
	return replaced
}

// goodbye is how long a client has to answer the closing of the connection.
const goodbye = time.Second

// serve sends and reads until the client is gone or stop ends. Reading and sending have contexts of
// their own: ending one breaks the connection, which then cannot be closed in order.
func (c *client) serve(stop context.Context, conn *websocket.Conn) error {
	conn.SetReadLimit(maxMessage)
	reading, cancel := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	writing, done := context.WithCancel(stop)
	sending, abort := context.WithCancel(context.Background())
	patience := context.AfterFunc(stop, func() { time.AfterFunc(goodbye, abort) })
	defer patience()
	go func() {
		err := c.read(reading, conn)
		done()
		abort()
		gone <- err
	}()
	err := c.write(writing, sending, conn)
	if stop.Err() != nil {
		timer := time.AfterFunc(goodbye, func() { _ = conn.CloseNow() })
		_ = conn.Close(websocket.StatusGoingAway, "the server is stopping") // a client that is gone need not be told
		timer.Stop()
	}
	cancel()
	done()
	abort()
	_ = conn.CloseNow() // for when nothing else has ended it
	return errors.Join(err, <-gone)
}

// write sends what waits until ctx ends, and asks the client from time to time whether it is there.
// What it has begun to send it breaks off when sending ends.
func (c *client) write(ctx, sending context.Context, conn *websocket.Conn) error {
	ping := time.NewTicker(c.config.PingInterval)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case messages := <-c.newest:
			for _, m := range messages {
				if err := c.send(sending, conn, m); err != nil {
					return err
				}
			}
		case m := <-c.answers:
			if err := c.send(sending, conn, m); err != nil {
				return err
			}
		case <-ping.C:
			if err := c.ping(sending, conn); err != nil {
				return err
			}
		}
	}
}

func (c *client) send(ctx context.Context, conn *websocket.Conn, m message) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.WriteTimeout)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, m); err != nil {
		return fmt.Errorf("send to a feed client: %w", err)
	}
	c.metrics.messages.Inc()
	return nil
}

func (c *client) ping(ctx context.Context, conn *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.PingTimeout)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping a feed client: %w", err)
	}
	return nil
}

// read answers what the client sends.
func (c *client) read(ctx context.Context, conn *websocket.Conn) error {
	for {
		kind, text, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		m, err := json.Marshal(envelope{eventError, time.Now().UTC(), failure{refusal(kind, text)}})
		if err != nil {
			return err
		}
		select {
		case c.answers <- m:
		default:
		}
	}
}

// refusal says what is wrong with a message.
func refusal(kind websocket.MessageType, text []byte) string {
	const offer = "; this feed sends viewers:count and metrics:update to everybody and takes no messages"
	var m struct {
		Event string `json:"event"`
	}
	switch {
	case kind != websocket.MessageText:
		return "messages must be text" + offer
	case json.Unmarshal(text, &m) != nil:
		return `message is not JSON of the form {"event":"…"}` + offer
	case m.Event == "":
		return "message names no event" + offer
	}
	return fmt.Sprintf("event %.64q is not known", m.Event) + offer
}
