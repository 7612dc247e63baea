package origin

import (
	"crypto/sha256"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// object is what the path of an object says of it.
type object struct {
	size  int
	kind  string
	first time.Duration // before the first byte
	rate  int           // bytes per second, 0: as fast as possible
}

// maxSize bounds the size that a path can ask for.
const maxSize = 64 << 20

// Path returns the path of an object that is fresh for a day.
func Path(size int, name string) string { return "/vod/" + strconv.Itoa(size) + "/" + name }

// BriefPath returns the path of an object that is fresh for a second, and may be served for a day while the
// origin fails (RFC 5861 §4).
func BriefPath(size int, name string) string { return "/brief/" + strconv.Itoa(size) + "/" + name }

// SlowPath returns the path of an object that is fresh for a day and arrives slowly: its first byte after a
// while, the others at rate bytes per second.
func SlowPath(first time.Duration, rate, size int, name string) string {
	return strings.Join([]string{"", "slow", strconv.FormatInt(first.Milliseconds(), 10), strconv.Itoa(rate), strconv.Itoa(size), name}, "/")
}

// parse reads a path; ok is false if there is no such object.
func parse(path string) (o object, ok bool) {
	fields := strings.Split(strings.TrimPrefix(path, "/"), "/")
	number := func(i int) int {
		n, err := strconv.Atoi(fields[i])
		ok = ok && err == nil && n >= 0
		return n
	}
	ok = true
	switch o.kind = fields[0]; {
	case (o.kind == "vod" || o.kind == "brief") && len(fields) == 3:
		o.size = number(1)
	case o.kind == "slow" && len(fields) == 5:
		o.first, o.rate, o.size = time.Duration(number(1))*time.Millisecond, number(2), number(3)
	default:
		return object{}, false
	}
	return o, ok && o.size > 0 && o.size <= maxSize
}

// Content returns the bytes of the object with that path, which are the same each time and unlike those of any
// other path, so that a client can tell what it got from what it asked for.
func Content(path string) []byte {
	o, ok := parse(path)
	if !ok {
		return nil
	}
	body := make([]byte, o.size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(path))).Read(body) // never fails
	return body
}
