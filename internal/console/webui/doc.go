// Package webui serves the built front end: the dashboard on the private listener, the watch page
// on the public one, and the hashed assets of both. It knows nothing of the front end but the names
// of its two pages; when there is none, because it has not been built, it says how to build it.
package webui
