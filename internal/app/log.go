package app

import (
	"io"
	"log/slog"

	"github.com/weir-stream/weir/internal/config"
)

// levelOf returns the level that the configuration names, which has been checked.
func levelOf(c config.LogConfig) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// newLog returns the log that every part is given, and what its level can be changed by.
func newLog(c config.LogConfig, w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(levelOf(c))
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}
