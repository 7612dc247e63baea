package natsserver

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/secret"
)

// Config is what users write about the shared bus.
type Config struct {
	// Address is where nodes without a server of their own reach this one; "" means that none does.
	Address string `yaml:"address"`
	// Servers are addresses of other nodes' servers, as host:port. If there are any, none runs here.
	Servers []string `yaml:"servers"`
	// User and Password are asked of whoever connects, by client and by route; "" means that nothing is, which is
	// for addresses that only this machine reaches, or where certificates are asked for.
	User     string      `yaml:"user"`
	Password secret.Text `yaml:"password"`

	TLS     TLSConfig     `yaml:"tls"`
	Cluster ClusterConfig `yaml:"cluster"`

	// Replicas is how many servers keep each message: 1, 3 or 5; 0 means 3 in a cluster of so many servers, else 1.
	Replicas int `yaml:"replicas"`
	// MaxStoreBytes bounds what this server keeps on disk.
	MaxStoreBytes int64 `yaml:"max_store_bytes"`
	// SyncInterval is how much time of messages a power failure may take from this server's disk;
	// 0 means none: each write is synced.
	SyncInterval time.Duration `yaml:"sync_interval"`
	// RetransmitMin is how soon TCP sends again what was lost, where the kernel lets us say so (Linux
	// 6.15); 0 leaves its own minimum of 200 ms. It should be longer than the longest round trip.
	RetransmitMin time.Duration `yaml:"retransmit_min"`
}

// ClusterConfig is how servers find each other.
type ClusterConfig struct {
	// Address is where this server takes the routes of others; "" means that it stands alone.
	Address string `yaml:"address"`
	// Routes are the addresses of the servers of the cluster, as host:port; this one may be among them.
	Routes []string `yaml:"routes"`
	// Advertise is the address that others are told, if it is another than Address.
	Advertise string `yaml:"advertise"`
	// Name is the name of the cluster, the same on all its servers.
	Name string `yaml:"name"`
}

// TLSConfig names the files of a certificate that is presented to clients, servers and routes, and of
// the authority that theirs are checked against. All three, or none.
type TLSConfig struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	Authority   string `yaml:"authority"`
}

// DefaultConfig returns the configuration of a node that stands alone.
func DefaultConfig() Config {
	return Config{
		MaxStoreBytes: 4 << 30,
		SyncInterval:  time.Second,
		RetransmitMin: 10 * time.Millisecond,
		Cluster:       ClusterConfig{Name: "weir"},
	}
}

// Shared reports whether the bus joins this node with others.
func (c Config) Shared() bool {
	return c.Address != "" || c.Cluster.Address != "" || len(c.Servers) > 0
}

// Remote reports whether the servers of the bus are those of other nodes.
func (c Config) Remote() bool { return len(c.Servers) > 0 }

// replicas is how many servers keep each message; 0 where other nodes say so.
func (c Config) replicas() int {
	switch {
	case c.Replicas > 0 || c.Remote():
		return c.Replicas
	case c.servers() >= 3:
		return 3
	}
	return 1
}

// servers is how many servers there are at most. Of three, each may name the other two only.
func (c Config) servers() int {
	if c.Cluster.Address == "" {
		return 1
	}
	all := make(map[string]bool, len(c.Cluster.Routes)+1)
	named := false
	for _, r := range c.Cluster.Routes {
		all[r] = true
		named = named || r == c.Cluster.Advertise || here(c.Cluster.Address, r)
	}
	if named {
		return len(all)
	}
	return len(all) + 1
}

// here reports whether address is where a server is reached that listens on listen.
func here(listen, address string) bool {
	if listen == address {
		return true
	}
	on, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	host, other, err := net.SplitHostPort(address)
	if ip := net.ParseIP(on); err != nil || port != other || on != "" && (ip == nil || !ip.IsUnspecified()) {
		return false
	}
	// It listens on all addresses of this machine.
	if name, err := os.Hostname(); err == nil && (host == name || strings.HasPrefix(host, name+".") || strings.HasPrefix(name, host+".")) {
		return true
	}
	ip := net.ParseIP(host)
	addresses, err := net.InterfaceAddrs()
	return err == nil && ip != nil && slices.ContainsFunc(addresses, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}

// private reports whether only this machine reaches an address.
func private(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return address == "" || host == "localhost" || ip != nil && ip.IsLoopback()
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	addresses := []struct{ key, value string }{
		{"address", c.Address}, {"cluster.address", c.Cluster.Address}, {"cluster.advertise", c.Cluster.Advertise},
	}
	for _, s := range c.Servers {
		addresses = append(addresses, struct{ key, value string }{"servers", s})
	}
	for _, r := range c.Cluster.Routes {
		addresses = append(addresses, struct{ key, value string }{"cluster.routes", r})
	}
	for i, a := range addresses {
		if a.value == "" && i < 3 {
			continue
		}
		_, port, err := net.SplitHostPort(a.value)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("%s has %q; host:port is expected, the port a number up to 65535", a.key, a.value)
		}
	}
	switch {
	case c.Remote() && (c.Address != "" || c.Cluster.Address != ""):
		return fmt.Errorf("servers names those of other nodes, so none runs here; neither address nor cluster.address is expected")
	case len(c.Cluster.Routes) > 0 && c.Cluster.Address == "":
		return fmt.Errorf("cluster.routes are set and cluster.address is not; an address for the routes of others is expected")
	case c.Cluster.Address != "" && len(c.Cluster.Routes) == 0:
		return fmt.Errorf("cluster.address is set and cluster.routes are not; the addresses of the cluster's servers are expected")
	case c.Cluster.Address != "" && c.Cluster.Name == "":
		return fmt.Errorf("cluster.name is empty; the name of the cluster is expected")
	case (c.User == "") != (c.Password == ""):
		return fmt.Errorf("user and password belong together; both are expected, or neither")
	case c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("replicas is %d; 1, 3 or 5 is expected", c.Replicas)
	case c.Replicas > 1 && c.Cluster.Address == "" && !c.Remote():
		return fmt.Errorf("replicas is %d and there is no cluster; 1 is expected where a server stands alone", c.Replicas)
	case c.Cluster.Address != "" && c.Replicas > c.servers():
		return fmt.Errorf("replicas is %d and cluster.routes name %d servers; no more replicas than servers are expected", c.Replicas, c.servers())
	case c.open(c.Address):
		return fmt.Errorf("address is %q, and whoever reaches it could purge everything; user and password, tls, or an address such as 127.0.0.1:4222 is expected", c.Address)
	case c.open(c.Cluster.Address):
		return fmt.Errorf("cluster.address is %q, and whoever reaches it could purge everything; user and password, tls, or an address such as 127.0.0.1:6222 is expected", c.Cluster.Address)
	case c.MaxStoreBytes < 1<<20:
		return fmt.Errorf("max_store_bytes is %d; at least %d is expected", c.MaxStoreBytes, 1<<20)
	case c.SyncInterval < 0:
		return fmt.Errorf("sync_interval is %v; a duration from 0s is expected", c.SyncInterval)
	case c.RetransmitMin != 0 && (c.RetransmitMin < time.Millisecond || c.RetransmitMin > 200*time.Millisecond):
		return fmt.Errorf("retransmit_min is %v; 0s, or 1ms to 200ms is expected", c.RetransmitMin)
	}
	return nil
}

// open reports whether anybody may connect to an address.
func (c Config) open(address string) bool {
	return c.User == "" && c.TLS.Authority == "" && !private(address)
}

// Validate reports the first value that cannot be.
func (c TLSConfig) Validate() error {
	given := 0
	for _, file := range []string{c.Certificate, c.Key, c.Authority} {
		if file != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return fmt.Errorf("certificate, key and authority belong together; all three files are expected, or none")
	}
	return nil
}

// routeURLs returns the addresses of the routes as the server wants them.
func (c Config) routeURLs() []*url.URL {
	urls := make([]*url.URL, 0, len(c.Cluster.Routes))
	for _, address := range c.Cluster.Routes {
		u := &url.URL{Scheme: "nats-route", Host: address}
		if c.User != "" {
			u.User = url.UserPassword(c.User, string(c.Password))
		}
		urls = append(urls, u)
	}
	return urls
}
