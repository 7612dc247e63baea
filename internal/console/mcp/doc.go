// Package mcp answers agents over the Model Context Protocol: which sessions there are, how well
// they played, what their buffers did, what went wrong, and any metric of the catalogue.
//
// It serves streamable HTTP ([Server.Handler], both eras of the protocol on one address) and stdio
// ([Server.ServeStdio]). Only one process may have the store open, so a client that starts "weir
// mcp" beside a running server gets a [Proxy]: a stdio server that forwards everything to that
// server's HTTP address.
//
// All tools only read. Each answer is bounded, says when it was cut and how to narrow it, and
// carries where its numbers come from. The rows come twice: as CSV for the model to read, and
// structured for programs. The logic is that of docs/analytics.md: sessions are never mixed, audio
// and video never averaged together, and a bitrate is weighted by playing time.
package mcp
