package upstream

import "time"

// OriginState is where an origin stands, for people who look at it.
type OriginState struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Tier   string `json:"tier"` // shield, origin or backup
	Weight int    `json:"weight"`
	// Healthy says that it is asked. Otherwise Down says that it fails its checks, Out that it is only
	// tried, next at Until; Reason is why.
	Healthy bool   `json:"healthy"`
	Down    bool   `json:"down,omitempty"`
	Out     bool   `json:"out,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Since is the time of the last change, the zero time if there was none.
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	Checked   time.Time `json:"checked,omitzero"`
	LastError string    `json:"last_error,omitempty"`

	Running  int64             `json:"running"`
	Requests uint64            `json:"requests"`
	Retries  uint64            `json:"retries"`
	Failures map[string]uint64 `json:"failures,omitempty"` // by class, those that have happened
}

// State returns the state of each origin, shields last.
func (p *Pool) State() []OriginState {
	t := p.table.Load()
	states := make([]OriginState, 0, len(t.all))
	for _, e := range t.all {
		if e.self {
			continue
		}
		s := OriginState{
			Name: e.name, URL: e.base.String(), Tier: e.tier.String(), Weight: int(e.weight),
			Running: e.running.Load(), Requests: e.requests.Load(), Retries: e.retries.Load(),
		}
		for class := range failureClasses {
			if n := e.classes[class].Load(); n > 0 {
				if s.Failures == nil {
					s.Failures = map[string]uint64{}
				}
				s.Failures[class.String()] = n
			}
		}
		now := e.Snapshot()
		s.Down, s.Out, s.Reason, s.LastError = now.Down, now.Out, now.Reason, now.LastError
		s.Since, s.Until, s.Checked = now.Since, now.Until, now.Checked
		s.Healthy = !s.Down && !s.Out
		states = append(states, s)
	}
	return states
}
