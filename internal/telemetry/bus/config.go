package bus

import (
	"fmt"
	"time"
)

// Config is what users may set of the bus.
type Config struct {
	// BatchRecords and BatchAge close a batch: the number of its records, or its age.
	BatchRecords int           `yaml:"batch_records"`
	BatchAge     time.Duration `yaml:"batch_age"`
	// AppendRecords is how many records of a backlog a sink is given at once.
	AppendRecords int `yaml:"append_records"`
	// QueueRecords is how many records may wait for each sink. A record takes about 1.5 kB, which
	// all sinks share. Requests find no room any more when it is three quarters full, reports when it is full.
	QueueRecords int `yaml:"queue_records"`
	// RetryMin and RetryMax are the shortest and longest pause before a batch that a sink could not
	// take is tried again; after RetryAge it is dropped.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	RetryAge time.Duration `yaml:"retry_age"`
	// FlushTimeout is how long the bus goes on when it is told to stop, to empty its queues.
	FlushTimeout time.Duration `yaml:"flush_timeout"`
}

// requestRecords is how full a queue may be for requests.
func (c Config) requestRecords() int { return c.QueueRecords * 3 / 4 }

// DefaultConfig returns the values that hold for one busy machine.
func DefaultConfig() Config {
	return Config{
		BatchRecords:  500,
		BatchAge:      200 * time.Millisecond,
		AppendRecords: 5000,
		QueueRecords:  20000,
		RetryMin:      100 * time.Millisecond,
		RetryMax:      10 * time.Second,
		RetryAge:      10 * time.Minute,
		FlushTimeout:  10 * time.Second,
	}
}

// Validate reports the first value that makes no sense.
func (c Config) Validate() error {
	for _, v := range []struct {
		key string
		n   int
	}{
		{"batch_records", c.BatchRecords}, {"append_records", c.AppendRecords}, {"queue_records", c.QueueRecords},
	} {
		if v.n < 1 {
			return fmt.Errorf("%s is %d: expected at least 1", v.key, v.n)
		}
	}
	if c.requestRecords() < c.BatchRecords {
		return fmt.Errorf("queue_records is %d: expected at least %d, a third more than batch_records", c.QueueRecords, (4*c.BatchRecords+2)/3)
	}
	for _, v := range []struct {
		key string
		d   time.Duration
	}{
		{"batch_age", c.BatchAge}, {"retry_min", c.RetryMin}, {"retry_age", c.RetryAge}, {"flush_timeout", c.FlushTimeout},
	} {
		if v.d <= 0 {
			return fmt.Errorf("%s is %v: expected a positive duration", v.key, v.d)
		}
	}
	if c.RetryMax < c.RetryMin {
		return fmt.Errorf("retry_max is %v: expected at least retry_min (%v)", c.RetryMax, c.RetryMin)
	}
	return nil
}
