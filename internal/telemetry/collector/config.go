package collector

import (
	"fmt"
	"time"
)

// Config is what users may set of the collector.
type Config struct {
	// MaxBodyBytes is how much of a body is taken: the whole records in it. The rest is dropped.
	MaxBodyBytes int64 `yaml:"max_body_bytes"`
	// BodyTimeout is how long a body may take to come; a slower one is answered with 408.
	BodyTimeout time.Duration `yaml:"body_timeout"`
	// MaxRecordBytes is how long a record may be; a longer one is dropped.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// MaxRecords is how many records of a body are taken; the rest is dropped.
	MaxRecords int `yaml:"max_records"`
	// MaxKeys is how many keys a record may have, specified and custom; one with more is dropped.
	MaxKeys int `yaml:"max_keys"`
	// AcceptTimeout is how long the bus may take to accept the records of a body, before they are
	// dropped.
	AcceptTimeout time.Duration `yaml:"accept_timeout"`

	// Sample is the fraction of the sessions that is kept, from 0 to 1; ShedLoad how full the queues
	// of the bus may be, from 0 to 1, before the fraction becomes less. 1 never sheds.
	Sample   float64 `yaml:"sample"`
	ShedLoad float64 `yaml:"shed_load"`

	// MaxSessionRecords is how many records a session may post in a minute before it is silenced for
	// SilenceTime; 0 is any number.
	MaxSessionRecords int           `yaml:"max_session_records"`
	SilenceTime       time.Duration `yaml:"silence_time"`

	// Sessions is how many sessions are known at a time: the offset of their clocks, their sequence
	// numbers and what they have posted in this minute. One takes about 160 bytes, 540 if it posts
	// to many paths.
	Sessions int `yaml:"sessions"`
	// RememberRecords is how many records are remembered at least, to tell those that are sent again.
	// One takes up to 39 bytes, and twice as many are remembered at most: 20 MB by default.
	RememberRecords int `yaml:"remember_records"`
}

// DefaultConfig returns limits that no player comes near.
func DefaultConfig() Config {
	return Config{
		MaxBodyBytes: 1 << 20, BodyTimeout: 10 * time.Second, MaxRecordBytes: 16 << 10, MaxRecords: 1000, MaxKeys: 64,
		AcceptTimeout: 5 * time.Second,
		Sample:        1, ShedLoad: 0.75,
		MaxSessionRecords: 6000, SilenceTime: 10 * time.Minute,
		Sessions: 1 << 16, RememberRecords: 1 << 18,
	}
}

// Validate reports the first value that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.MaxBodyBytes < 1:
		return fmt.Errorf("max_body_bytes is %d: expected at least 1", c.MaxBodyBytes)
	case c.BodyTimeout <= 0:
		return fmt.Errorf("body_timeout is %v: expected a positive duration", c.BodyTimeout)
	case c.AcceptTimeout <= 0:
		return fmt.Errorf("accept_timeout is %v: expected a positive duration", c.AcceptTimeout)
	case !(c.Sample >= 0 && c.Sample <= 1): // which is true of NaN
		return fmt.Errorf("sample is %v: expected a number from 0 to 1", c.Sample)
	case !(c.ShedLoad >= 0 && c.ShedLoad <= 1):
		return fmt.Errorf("shed_load is %v: expected a number from 0 to 1", c.ShedLoad)
	case c.MaxSessionRecords < 0:
		return fmt.Errorf("max_session_records is %d: expected 0 or more", c.MaxSessionRecords)
	case c.SilenceTime <= 0:
		return fmt.Errorf("silence_time is %v: expected a positive duration", c.SilenceTime)
	}
	for _, v := range []struct {
		key string
		n   int
	}{
		{"max_record_bytes", c.MaxRecordBytes},
		{"max_records", c.MaxRecords},
		{"max_keys", c.MaxKeys},
		{"sessions", c.Sessions},
		{"remember_records", c.RememberRecords},
	} {
		if v.n < 1 {
			return fmt.Errorf("%s is %d: expected at least 1", v.key, v.n)
		}
	}
	return nil
}
