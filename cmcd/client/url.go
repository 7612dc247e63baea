package client

import "strings"

// AddToURL returns rawURL with a CMCD argument, as [Sender.Query] and [cmcd.Values.Query] return it,
// in its query. It takes the place of the CMCD arguments that are there already, and all else is left
// as it is. Without an argument, so is the whole URL.
func AddToURL(rawURL, argument string) string {
	if argument == "" {
		return rawURL
	}
	rest, fragment, hasFragment := strings.Cut(rawURL, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	var arguments []string
	placed := false
	for old := range strings.SplitSeq(query, "&") {
		switch name, _, _ := strings.Cut(old, "="); {
		case name != "CMCD":
			arguments = append(arguments, old)
		case !placed:
			arguments = append(arguments, argument)
			placed = true
		}
	}
	switch {
	case placed:
		query = strings.Join(arguments, "&")
	case hasQuery && query != "":
		query += "&" + argument
	default:
		query = argument
	}
	if hasFragment {
		fragment = "#" + fragment
	}
	return path + "?" + query + fragment
}
