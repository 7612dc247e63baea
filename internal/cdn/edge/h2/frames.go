package h2

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// take takes a frame. The errors are those of http2: of a stream, or of the connection.
func (c *conn) take(f http2.Frame) error {
	if !c.settled {
		if _, ok := f.(*http2.SettingsFrame); !ok {
			return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113 §3.4
		}
		c.mu.Lock()
		c.settled = true
		c.mu.Unlock()
	}
	if f, ok := f.(*http2.MetaHeadersFrame); ok {
		return c.takeHeaders(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waitForRoom(); c.over != nil {
		return c.over
	}
	if c.refusing && f.Header().StreamID > c.last { // of a stream that is not served (RFC 9113 §6.8)
		if f, ok := f.(*http2.DataFrame); ok {
			c.given -= int64(f.Length)
			c.giveBack(nil, int64(f.Length))
		}
		return nil
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindowUpdate(f)
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113 §5.1
		}
		if s := c.streams[f.StreamID]; s != nil {
			c.server.metrics.resets.Inc()
			r := c.close(s, errReset)
			if r.done != nil {
				go r.tell()
			}
		}
		if !c.exceeds() {
			return c.over
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.control = append(appendFrame(c.control, len(f.Data), http2.FramePing, http2.FlagPingAck, 0), f.Data[:]...)
		}
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113 §8.4
	}
	return nil
}

func (c *conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if f.HasDuplicates() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.resized = true
		case http2.SettingMaxFrameSize:
			c.frame = min(int(s.Val), turnBytes)
		case http2.SettingInitialWindowSize:
			// RFC 9113 §6.9.2
			change := int64(s.Val) - c.initial
			c.initial = int64(s.Val)
			for _, s := range c.streams {
				if s.window += change; s.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				c.enqueue(s)
			}
		case http2.SettingEnablePush, http2.SettingMaxConcurrentStreams, http2.SettingMaxHeaderListSize,
			http2.SettingEnableConnectProtocol, http2.SettingNoRFC7540Priorities: // of what is not done here
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.control = appendFrame(c.control, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	return nil
}

func (c *conn) takeWindowUpdate(f *http2.WindowUpdateFrame) error {
	n := int64(f.Increment)
	if f.StreamID == 0 {
		if c.window += n; c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		return nil
	}
	s := c.streams[f.StreamID]
	switch {
	case f.StreamID > c.last:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil:
		return nil
	}
	if s.window += n; s.window > maxWindow {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	c.enqueue(s)
	return nil
}

func (c *conn) takeData(f *http2.DataFrame) error {
	n := int64(f.Length)
	if c.given -= n; c.given < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	switch {
	case f.StreamID > c.last:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil || s.ended:
		c.giveBack(nil, n)
		if c.wasReset(f.StreamID) {
			return nil
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	b := s.body
	if b == nil { // refused
		s.ended = f.StreamEnded()
		c.giveBack(nil, n)
		return nil
	}
	if b.given -= n; b.given < 0 {
		c.giveBack(nil, n)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	}
	data := f.Data()
	b.came += int64(len(data))
	padding := n - int64(len(data))
	switch {
	case b.length >= 0 && (b.came > b.length || f.StreamEnded() && b.came != b.length):
		c.giveBack(nil, n)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol} // RFC 9113 §8.1.1
	case len(data) == 0 && !f.StreamEnded():
		if !c.exceeds() {
			return errGone
		}
	case b.closed:
		padding = n
	case len(data) > 0:
		b.add(data)
	}
	s.ended = f.StreamEnded()
	c.giveBack(s, padding)
	s.tell()
	return nil
}

// add keeps what has come, in few pieces.
func (b *body) add(data []byte) {
	b.size += int64(len(data))
	if k := len(b.chunks) - 1; k >= 0 && cap(b.chunks[k])-len(b.chunks[k]) >= len(data) {
		b.chunks[k] = append(b.chunks[k], data...)
		return
	}
	b.chunks = append(b.chunks, append(make([]byte, 0, max(len(data), inputBytes)), data...))
}

// takeHeaders begins a stream, or ends the request of one with trailers, which nothing here needs.
func (c *conn) takeHeaders(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	c.mu.Lock()
	c.waitForRoom()
	s := c.streams[id]
	switch {
	case c.over != nil:
		c.mu.Unlock()
		return c.over
	case s != nil:
		defer c.mu.Unlock()
		switch {
		case s.ended:
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
		case !f.StreamEnded(), len(f.PseudoFields()) > 0, s.body != nil && s.body.length >= 0 && s.body.came != s.body.length:
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol} // RFC 9113 §8.1
		}
		s.ended = true
		s.tell()
		return nil
	case id%2 == 0, id <= c.last:
		defer c.mu.Unlock()
		if c.wasReset(id) {
			return nil
		}
		return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113 §5.1.1
	case f.HasPriority() && f.Priority.StreamDep == id:
		c.mu.Unlock()
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	case c.refusing:
		c.mu.Unlock()
		return nil // the client knows that it was not served (RFC 9113 §6.8)
	}
	c.last = id
	if len(c.streams) >= c.server.streams || c.running >= c.server.streams {
		c.server.metrics.refused.Inc()
		c.reset(id, http2.ErrCodeRefusedStream, errReset)
		c.exceeds()
		c.mu.Unlock()
		return nil
	}
	if !c.watched {
		c.watched = true
		c.timer.Reset(c.server.config.StallTimeout / 4)
	}
	c.idle = time.Time{}
	s = &stream{c: c, id: id, window: c.initial, ended: f.StreamEnded(), moved: time.Now()}
	c.streams[id] = s
	c.mu.Unlock()
	return c.begin(s, f)
}

var errMalformed = errors.New("malformed request") // RFC 9113 §8.1.1
