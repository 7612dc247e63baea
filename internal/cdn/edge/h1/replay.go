package h1

import "net"

// replay is a connection that is handed over: its Read gives first what has been read of it.
type replay struct {
	net.Conn
	rest []byte
	half halfCloser
}

// secureReplay lets net/http see that there is TLS below.
type secureReplay struct {
	*replay
	stater
}

func newReplay(c *conn, rest []byte) net.Conn {
	r := &replay{Conn: c.nc, rest: rest, half: c.half}
	if c.secure != nil {
		return secureReplay{r, c.secure}
	}
	return r
}

// NetConn leads to the connection below.
func (r *replay) NetConn() net.Conn { return r.Conn }

func (r *replay) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// CloseWrite ends the direction to the client.
func (r *replay) CloseWrite() error {
	if r.half == nil {
		return nil
	}
	return r.half.CloseWrite()
}
