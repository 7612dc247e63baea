// Command weir delivers streaming video and measures what every viewer got.
package main

import (
	"os"

	"github.com/weir-stream/weir/internal/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr)) }
