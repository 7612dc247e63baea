// Package natsserver is the bus that nodes share: a NATS server with JetStream in this process, alone
// or as one of a cluster, or a connection to the servers of other nodes.
//
// A node that stands alone needs nothing of it on the network: [Server.Connect] gives connections that
// never leave the process. With an address, other nodes connect to it; with cluster routes, the servers
// keep each message on several machines. With servers of others named, no server runs here.
//
// The messages of the bus are small and far between, and each of them may be one that somebody waits
// for. TCP is made for the opposite: it waits 200 ms before it sends again what the network lost when
// nothing else is on the way (RFC 6298 §2.4 and Linux's TCP_RTO_MIN). So the sockets of the bus have
// timers of their own, see [Config].RetransmitMin.
package natsserver
