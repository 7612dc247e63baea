// Package web holds the built pages: the dashboard (index.html, private listener) and the watch
// page (watch.html, public listener), with their hashed assets below assets/.
package web

import (
	"embed"
	"io/fs"
)

// dist has one committed note, so that this compiles where no front end was built.
//
//go:embed all:dist
var dist embed.FS

// FS has the built pages at its root; only README.md if none were built.
var FS = root()

func root() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		// The name is a constant and valid; fs.Sub has no other error.
		panic(err)
	}
	return sub
}
