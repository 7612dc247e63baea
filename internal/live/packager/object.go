package packager

import (
	"hash/fnv"
	"net/http"
	"strconv"
	"time"
)

// The names of the manifests within a stream.
const (
	multivariantName = "index.m3u8"
	mpdName          = "manifest.mpd"
)

// segmentMaxAge is how long caches may keep a segment or header. Its bytes never change; nobody asks
// for it long after it has left the window, so more would only fill disks.
const segmentMaxAge = time.Hour

// object is what a key names. It does not change.
type object struct {
	data   []byte
	header http.Header
}

func newObject(data []byte, contentType, cacheControl, etag string) *object {
	return &object{data: data, header: http.Header{
		"Content-Type":  {contentType},
		"Cache-Control": {cacheControl},
		"Etag":          {`"` + etag + `"`},
	}}
}

// media makes an object of a segment or header, whose name stands for its bytes.
func mediaObject(data []byte, contentType, name string) *object {
	return newObject(data, contentType, "public, max-age="+strconv.Itoa(int(segmentMaxAge.Seconds()))+", immutable", name)
}

// manifest makes an object of a playlist or MPD.
func manifestObject(data []byte, contentType string, segment time.Duration) *object {
	h := fnv.New64a()
	h.Write(data)
	age := max(1, int(segment.Seconds()/2))
	return newObject(data, contentType, "public, max-age="+strconv.Itoa(age), strconv.FormatUint(h.Sum64(), 16))
}
