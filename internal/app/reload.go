package app

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/internal/cdn/upstream"
	"github.com/weir-stream/weir/internal/config"
)

// reloadable reports whether a change of the setting with this key takes effect without a restart.
func reloadable(key string) bool {
	if key == "cdn.edge.slice_bytes" || strings.HasPrefix(key, "cdn.edge.compression.") {
		return false // what is in the cache was made with them
	}
	for _, prefix := range []string{"cdn.access.", "cdn.edge.", "cdn.upstream."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return key == "log.level"
}

// reload reads the configuration and the files that it names again, and takes over what can be without a restart.
// If something is wrong everything stays as it is.
func (n *node) reload() {
	if n.process.load == nil {
		return
	}
	next, err := n.process.load()
	if err == nil {
		err = n.takeOver(next)
	}
	if err != nil {
		n.log.Error("the configuration was read again and cannot be used; everything stays as it is", "error", err)
		return
	}
	var changed, restart []string
	for _, key := range config.Changed(n.current, next) {
		if reloadable(key) {
			changed = append(changed, key)
		} else {
			restart = append(restart, key)
		}
	}
	// What needs a restart is as it was, and is named again the next time.
	n.current.Log.Level = next.Log.Level
	n.current.CDN.Access, n.current.CDN.Upstream = next.CDN.Access, next.CDN.Upstream
	slices, compression := n.current.CDN.Edge.SliceBytes, n.current.CDN.Edge.Compression
	n.current.CDN.Edge = next.CDN.Edge
	n.current.CDN.Edge.SliceBytes, n.current.CDN.Edge.Compression = slices, compression
	arguments := []any{"changed", strings.Join(changed, " ")}
	if len(restart) > 0 {
		n.log.Warn("the configuration was read again; some of it takes effect with a restart only", append(arguments, "needs_restart", strings.Join(restart, " "))...)
		return
	}
	n.log.Info("the configuration was read again", arguments...)
}

// takeOver gives the parts of the node what they can use of a configuration. What can fail comes first, and can be
// taken back.
func (n *node) takeOver(next config.Config) error {
	edge := next.CDN.Edge
	edge.Rules = n.edge.rules(next.CDN)
	if err := edge.Validate(); err != nil {
		return fmt.Errorf("cdn.edge.%w", err)
	}
	if n.upstream != nil {
		// A pool of its own: its files and variables are read, and nothing is asked.
		if _, err := upstream.New(upstream.Settings{Config: next.CDN.Upstream, ID: n.config.Node.ID}); err != nil {
			return err
		}
	}
	if err := n.public.Reload(); err != nil {
		return fmt.Errorf("public.tls: %w", err)
	}
	if err := n.private.Reload(); err != nil {
		return fmt.Errorf("private.tls: %w", err)
	}
	if err := n.edge.access.Reload(next.CDN.Access); err != nil {
		return err
	}
	if n.upstream != nil {
		if err := n.upstream.Reload(next.CDN.Upstream); err != nil {
			if back := n.edge.access.Reload(n.current.CDN.Access); back != nil {
				n.log.Error("access rules are those of the new configuration", "error", back)
			}
			return err
		}
	}
	if err := n.edge.edge.Reload(edge); err != nil {
		return err
	}
	if n.process.level != nil {
		n.process.level.Set(levelOf(next.Log))
	}
	return nil
}
