// Package ffmpeg is the only door to ffmpeg: it finds the program and what it can do, builds its
// command lines from typed options, and keeps it running as a supervised child.
//
// A child never outlives this process: it is interrupted when its context ends, killed if that does
// not help, and killed by the kernel if this process dies without a word. Nothing that a user typed
// is spliced into a filter or an option; it can only ever be a whole argument.
package ffmpeg
