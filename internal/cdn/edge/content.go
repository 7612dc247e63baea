package edge

import (
	"io"
	"net/http"
)

// hasContent reports whether a request has content. HTTP/3 does not say so at its beginning, nor do chunks: what comes
// first is looked at.
func hasContent(r *http.Request) bool {
	if r.ContentLength >= 0 || r.Body == nil || r.Body == http.NoBody {
		return r.ContentLength > 0
	}
	first := make([]byte, 1)
	if n, err := io.ReadFull(r.Body, first); n == 0 {
		if err == io.EOF {
			r.Body, r.ContentLength = http.NoBody, 0
			return false
		}
		return true // it breaks off, which whoever reads on will see
	}
	r.Body = &begun{ReadCloser: r.Body, first: first}
	return true
}

// begun is a body of which the first bytes have been read.
type begun struct {
	io.ReadCloser
	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.ReadCloser.Read(p)
}
