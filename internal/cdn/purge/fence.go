package purge

// A node that is cut off from the bus serves on, and is named as missing by whoever asks for a purge. That ends when the
// others forget it: so before they do it must end to answer from its cache. It announces how long it takes for that.

// Fenced reports whether this node has not heard of purges for so long that nothing of its cache may be served:
// others may take it for gone, and purges as confirmed without it. It is so until all that was missed is applied.
func (s *Service) Fenced() bool {
	if s.set.Conn == nil || s.set.Apply == nil || !s.serves() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch late := s.late(); {
	case late:
		s.fenced = true
	case s.fenced && s.current && s.position.Sequence >= s.target:
		s.fenced = false
	}
	return s.fenced
}

// serves reports whether this node may serve: it has caught up once.
func (s *Service) serves() bool {
	select {
	case <-s.caughtUp:
		return true
	default:
		return false
	}
}

// late reports whether the log has said nothing for too long, by either clock: the monotonic one stands still while
// the machine is suspended, and the other one may be set back. The caller holds the lock.
func (s *Service) late() bool {
	now := s.now()
	return now.Sub(s.heard) >= s.config.FenceAfter || now.Round(0).Sub(s.heard.Round(0)) >= s.config.FenceAfter
}

// hear takes note that the log has said something. After too long a silence within one reading, as of a machine that was
// suspended, what comes may be old: then the reading is to begin anew.
func (s *Service) hear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current && s.late() {
		s.fenced = true
		return errSilent
	}
	s.heard = s.now()
	return nil
}

// listening takes note that the log is being read, from a verified position.
func (s *Service) listening() {
	serves := s.serves()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced = s.fenced || serves && s.late()
	s.target = max(s.target, s.joined)
	s.current, s.heard = true, s.now()
}
