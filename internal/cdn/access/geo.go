package access

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/weir-stream/weir/internal/cdn/access/token"
)

// atlas tells where addresses are.
type atlas struct{ databases []*maxminddb.Reader }

// openAtlas reads the files into memory: a file that is mapped and then written over would end the process.
func openAtlas(files []string) (*atlas, error) {
	if len(files) == 0 {
		return nil, nil
	}
	a := new(atlas)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("geo_databases: %w", err)
		}
		db, err := maxminddb.OpenBytes(content)
		if err != nil {
			return nil, fmt.Errorf("geo_databases: %s: %w", file, err)
		}
		a.databases = append(a.databases, db)
	}
	return a, nil
}

// record is what is read of a database's record; databases of countries, cities and autonomous systems have
// parts of it.
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	ASN uint32 `maxminddb:"autonomous_system_number"`
}

// whereabouts returns what the databases know of an address.
func (a *atlas) whereabouts(address netip.Addr) token.Whereabouts {
	var where token.Whereabouts
	if a == nil || !address.IsValid() {
		return where
	}
	for _, db := range a.databases {
		result := db.Lookup(address)
		if !result.Found() {
			continue
		}
		var r record
		if result.Decode(&r) != nil {
			continue // a record of another form knows nothing
		}
		if where.Country == "" && r.Country.Code != "" {
			where.Country = strings.ToUpper(r.Country.Code)
			for _, s := range r.Subdivisions {
				if s.Code != "" {
					where.Subdivisions = append(where.Subdivisions, where.Country+"-"+strings.ToUpper(s.Code))
				}
			}
		}
		if where.ASN == 0 {
			where.ASN = r.ASN
		}
	}
	return where
}

// matches reports whether an address that is at where is in one of the places.
func (p *PlacesConfig) matches(where *token.Whereabouts) bool {
	return where.Country != "" && slices.Contains(p.Countries, where.Country) ||
		slices.ContainsFunc(p.Subdivisions, func(s string) bool { return slices.Contains(where.Subdivisions, s) }) ||
		where.ASN != 0 && slices.Contains(p.ASNs, where.ASN)
}

// doubtful reports whether too little is known to say that it is in none of the places.
func (p *PlacesConfig) doubtful(where *token.Whereabouts) bool {
	if where.Country == "" && len(p.Countries)+len(p.Subdivisions) > 0 || where.ASN == 0 && len(p.ASNs) > 0 {
		return true
	}
	return len(where.Subdivisions) == 0 && slices.ContainsFunc(p.Subdivisions, func(s string) bool {
		return strings.HasPrefix(s, where.Country+"-")
	})
}

func (g *GeoConfig) check(where token.Whereabouts) Reason {
	switch {
	case g.Deny.matches(&where):
		return GeoDenied
	case g.Deny.doubtful(&where) && g.Unknown == deny:
		return GeoUnknown
	case g.Allow.empty(), g.Allow.matches(&where):
		return ""
	case g.Allow.doubtful(&where):
		if g.Unknown == allow {
			return ""
		}
		return GeoUnknown
	}
	return GeoDenied
}
