package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/purge"
	"github.com/weir-stream/weir/internal/console/rest"
)

// purger shows the API this node's part in purges.
type purger struct{ fleet *fleetRole }

var _ rest.Purger = purger{}

// Purge has the form that the API wants.
func (p purger) Purge(ctx context.Context, purges []cdn.Purge) []rest.PurgeOutcome {
	outcomes := make([]rest.PurgeOutcome, len(purges))
	if p.fleet.alone && !p.fleet.open.Load() {
		// One process of the node would hear of it, and the other serve what was purged.
		for i := range outcomes {
			outcomes[i].Err = errHandover
		}
		return outcomes
	}
	for i, o := range p.fleet.purges.PurgeMany(ctx, purges) {
		r := o.Result
		outcomes[i] = rest.PurgeOutcome{ID: r.ID, Sequence: r.Sequence, Confirmed: r.Confirmed, Missing: r.Missing, Err: o.Err}
	}
	return outcomes
}

// purgeFlags are what the command line says of a purge.
type purgeFlags struct {
	urls, prefixes, tags []string
	all, soft            bool
	host                 string
	wait                 time.Duration
	output               string
}

func newPurge(line *commandLine, stdout, _ io.Writer) *cobra.Command {
	var f purgeFlags
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Remove objects from the caches of all edges",
		Long: `Asks the running program to purge, by its private address, and waits until all edges have confirmed: no
request that comes later gets what was purged. Edges that have not confirmed in time are named, and the command
ends with 1; they apply the purge before they serve again, or as soon as they hear of it.

With --soft objects become stale instead, and still serve where stale objects may. --url takes a path with its query, or a
whole address, whose host then narrows the purge. Flags may be repeated and mixed.`,
		Example: `  weir purge --url /live/tv/init.mp4 --url 'https://cdn.example/logo.png?v=2'
  weir purge --prefix /vod/film-7/ --soft
  weir purge --tag sport --wait 10s
  weir purge --all --private 10.0.0.5:8090`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.output != "text" && f.output != "json" {
				return usageError{fmt.Errorf("--output %q is not text or json", f.output)}
			}
			order, err := f.order()
			if err != nil {
				return usageError{err}
			}
			c, err := line.load(environ())
			if err != nil {
				return err
			}
			return sendPurge(cmd.Context(), "http://"+dialable(c.Private.Address), order, f, stdout)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.urls, "url", nil, "one object: its path with the query, or its address")
	flags.StringArrayVar(&f.prefixes, "prefix", nil, "every object whose path begins so; an address may be given as well")
	flags.StringArrayVar(&f.tags, "tag", nil, "every object that the origin has given this tag")
	flags.BoolVar(&f.all, "all", false, "everything")
	flags.BoolVar(&f.soft, "soft", false, "make objects stale instead of removing them")
	flags.StringVar(&f.host, "host", "", "only objects that are asked for under this name")
	flags.DurationVar(&f.wait, "wait", 5*time.Second, "how long to wait for confirmations, at most 1m")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

// order makes the request of the flags, and finds in them what the program would refuse.
func (f purgeFlags) order() (rest.PurgeOrder, error) {
	order := rest.PurgeOrder{Wait: f.wait.String()}
	if f.wait <= 0 || f.wait > purge.MaxWait {
		return order, fmt.Errorf("--wait is %v; more than 0s and at most %v is expected", f.wait, purge.MaxWait)
	}
	for _, named := range []struct {
		scope   cdn.PurgeScope
		targets []string
	}{{cdn.PurgeURL, f.urls}, {cdn.PurgePrefix, f.prefixes}, {cdn.PurgeTag, f.tags}} {
		for _, target := range named.targets {
			item := rest.PurgeItem{Scope: string(named.scope), Target: target, Soft: f.soft}
			if named.scope != cdn.PurgeTag {
				item.Host = f.host
				if host, path, ok := splitAddress(target); ok {
					item.Host, item.Target = host, path
				}
			}
			order.Purges = append(order.Purges, item)
		}
	}
	switch {
	case f.all && len(order.Purges) > 0:
		return order, errors.New("--all is everything; no other target is expected with it")
	case f.all:
		order.Purges = []rest.PurgeItem{{Scope: string(cdn.PurgeAll), Soft: f.soft}}
	case len(order.Purges) == 0:
		return order, errors.New("nothing to purge was named; --url, --prefix, --tag or --all is expected")
	}
	for _, item := range order.Purges {
		if err := (cdn.Purge{Scope: cdn.PurgeScope(item.Scope), Target: item.Target}).Validate(); err != nil {
			return order, fmt.Errorf("--%s: %w", item.Scope, err)
		}
	}
	return order, nil
}

// splitAddress takes an address apart into the host, without its port, and the path with its query.
func splitAddress(address string) (host, path string, ok bool) {
	if !strings.Contains(address, "://") {
		return "", "", false
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return "", "", false
	}
	path = u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return u.Hostname(), path, true
}

// sendPurge sends the order to the running program at base and prints what became of it.
func sendPurge(ctx context.Context, base string, order rest.PurgeOrder, f purgeFlags, stdout io.Writer) error {
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.wait+10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/cdn/cache/purge", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w (is 'weir serve' running there? --private says where)", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	var report rest.PurgeError // of an answer that is no problem, the members of one are empty
	if err := json.Unmarshal(answer, &report); err != nil {
		return fmt.Errorf("purge: %s: the answer is not that of a weir", resp.Status)
	}
	if resp.StatusCode != http.StatusOK && len(report.Purges) == 0 {
		return fmt.Errorf("purge: %s: %s", resp.Status, report.Detail)
	}
	if f.output == "json" {
		if err := json.NewEncoder(stdout).Encode(report.PurgeReport); err != nil {
			return err
		}
	} else {
		printPurges(stdout, order, report.PurgeReport)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(report.Detail)
	}
	return nil
}

func printPurges(w io.Writer, order rest.PurgeOrder, report rest.PurgeReport) {
	for i, item := range report.Purges {
		if i >= len(order.Purges) {
			break
		}
		asked, mode := order.Purges[i], "hard"
		if asked.Soft {
			mode = "soft"
		}
		name := strings.TrimSpace(asked.Scope + " " + asked.Host + asked.Target)
		switch {
		case item.Error != "":
			fmt.Fprintf(w, "✗ %s (%s): %s\n", name, mode, item.Error)
		case len(item.Missing) > 0:
			fmt.Fprintf(w, "! %s (%s): purge %d is not confirmed by %s\n", name, mode, item.Sequence, strings.Join(item.Missing, ", "))
		default:
			fmt.Fprintf(w, "✓ %s (%s): purge %d is confirmed\n", name, mode, item.Sequence)
		}
	}
	fmt.Fprintf(w, "confirmed after %.0f ms by %s\n", report.Duration*1000, some(report.Confirmed))
	if len(report.Missing) > 0 {
		fmt.Fprintf(w, "missing: %s\n", strings.Join(report.Missing, ", "))
	}
}

// some lists names, or says that there are none.
func some(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
