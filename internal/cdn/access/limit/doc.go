// Package limit bounds what one client may ask for: requests per time, and connections at a time.
//
// Both take bounded memory, whoever knocks. [Rate] remembers a fixed number of keys in tables of its own;
// what is idle is forgotten without loss, because a key that has been idle stands where a new one does. Only
// when more keys are busy at once than the table has room for is one forgotten that counted, and that is
// counted. [Connections] remembers no more than the connections that are open.
package limit
