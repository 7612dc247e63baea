package purge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weir-stream/weir/internal/cdn"
)

const (
	// logHeartbeat is how often the server says that there is nothing; after four times as long without a
	// word, as when the server that pushes is gone and ours is not, the reading begins anew.
	logHeartbeat = 500 * time.Millisecond
	logSilence   = 4 * logHeartbeat
	// openTimeout bounds each question to the server, which does not answer as long as it looks for a leader.
	openTimeout = 2 * time.Second
	// namesake is what an operator has to know at once.
	namesake = "another node has the same name; each needs one of its own (node.id)"
	// inactive is how long the server keeps a reading that nobody takes from.
	inactive = time.Minute
)

// drive reads the log until ctx ends, beginning anew whenever that breaks off; with once, until this node
// has caught up.
func (s *Service) drive(ctx context.Context, once bool) error {
	pause := retryMin
	for {
		began := time.Now()
		s.metrics.restarts.Inc()
		err := s.session(ctx, once)
		s.mu.Lock()
		s.current = false
		s.mu.Unlock()
		switch {
		case errors.Is(err, errCaughtUp):
			return s.keeper.flush()
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if time.Since(began) > retryMax {
			pause = retryMin
		}
		s.log.Warn("reading the log of purges begins anew", "error", err, "in", pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMax)
	}
}

// session reads the log from this node's position, until something is wrong with the reading.
func (s *Service) session(ctx context.Context, once bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Whatever the server had sent when the connection was lost is gone.
	status := s.set.Conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer s.set.Conn.RemoveStatusListener(status)
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-status:
			cancel(nats.ErrConnectionReconnecting)
		case <-stop:
		}
	}()
	defer func() { close(stop); <-watched }()

	stream, err := s.stream(ctx)
	if err != nil {
		return err
	}
	same, err := s.verify(ctx, stream)
	if err != nil {
		return err
	}
	members, err := s.members(ctx)
	if err != nil {
		return err
	}
	log, after, _ := s.standing()
	s.fleet.begin(log, after, same, members)
	r, err := s.read(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1})
	if err != nil {
		return err
	}
	defer r.close()
	if err := s.present(ctx, members); err != nil {
		return err
	}
	s.listening()
	r.heard = s.hear
	if s.fleet.namesakes(s.set.Node, s.keeper.home) > 0 {
		s.log.Error(namesake, "node", s.set.Node)
	}
	for {
		if err := s.progress(once); err != nil {
			return err
		}
		msg, meta, err := r.next(ctx)
		if err != nil {
			return err
		}
		if err := s.take(ctx, msg, meta); err != nil {
			return err
		}
	}
}

// progress says that this node may serve, as soon as it has applied what was before its own announcement.
func (s *Service) progress(once bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set.Apply != nil && (s.joined == 0 || s.position.Sequence < s.joined) {
		return nil
	}
	select {
	case <-s.caughtUp:
	default:
		close(s.caughtUp)
	}
	if once {
		return errCaughtUp
	}
	return nil
}

// verify makes sure that nothing is missing between this node's position and the log. If it cannot be sure,
// everything is purged, and the position is the end of the log as it was before; then it is not the same log
// as far as anybody knows.
func (s *Service) verify(ctx context.Context, stream jetstream.Stream) (same bool, err error) {
	asking, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	info, err := stream.Info(asking)
	if err != nil {
		return false, fmt.Errorf("ask where the log of purges is: %w", err)
	}
	log, first, last := info.Created.UnixNano(), info.State.FirstSeq, info.State.LastSeq
	s.mu.Lock()
	at := s.position
	s.target = last
	s.mu.Unlock()
	why := ""
	switch {
	case at.Log == 0:
		why = "nothing is remembered of what was applied"
	case at.Log != log:
		why = "the log is another one"
	case at.Sequence > last:
		why = "the log has lost its end"
	case at.Sequence+1 < first:
		why = "the log does not reach back so far"
	case at.Sequence >= first:
		id, err := messageID(asking, stream, at.Sequence)
		if err != nil {
			return false, err
		}
		if id != at.ID {
			why = "the log has lost its end, and has another"
		}
	}
	if why != "" {
		id := ""
		if last >= first && last > 0 {
			if id, err = messageID(asking, stream, last); err != nil {
				return false, err
			}
		}
		if s.set.Apply != nil {
			s.log.Info("everything is purged", "reason", why, "applied", at.Sequence, "first", first, "last", last)
			s.metrics.everything.Inc()
			everything := cdn.Purge{Sequence: last, ID: uuid.NewString(), Scope: cdn.PurgeAll, Time: time.Now().UTC(), By: s.set.Node + ": " + why}
			if err := s.apply(ctx, everything); err != nil {
				return false, err
			}
		}
		at = position{Log: log, Sequence: last, ID: id}
		s.move(at)
	}
	return why == "", nil
}

func (s *Service) move(to position) {
	s.mu.Lock()
	s.position = to
	s.mu.Unlock()
	s.keeper.set(to)
}

// messageID returns the ID of the message at a place of the log, "" if there is none any more.
func messageID(ctx context.Context, stream jetstream.Stream, sequence uint64) (string, error) {
	msg, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read message %d of the log of purges: %w", sequence, err)
	}
	return msg.Header.Get(jetstream.MsgIDHeader), nil
}

// members returns the last announcement of each process, in the order of the log.
func (s *Service) members(ctx context.Context) ([]announcement, error) {
	r, err := s.read(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: nodeSubjects})
	if err != nil {
		return nil, err
	}
	defer r.close()
	var all []announcement
	for pending := r.pending; pending > 0; {
		msg, meta, err := r.next(ctx)
		if err != nil {
			return nil, err
		}
		a, err := parseAnnouncement(msg.Data, meta.Sequence.Stream)
		switch {
		case err != nil:
			s.metrics.unread.Inc()
		default:
			all = append(all, a)
		}
		pending = meta.NumPending
	}
	return all, nil
}

// present announces this node, if it has not done so or the log does not know of it any more.
func (s *Service) present(ctx context.Context, members []announcement) error {
	if s.set.Apply == nil {
		return nil
	}
	kind := kindJoin
	select {
	case <-s.caughtUp: // it serves
		kind = kindStay
		for _, a := range members {
			if a.Instance == s.instance && a.Kind != kindLeave {
				return nil
			}
		}
	default:
	}
	return s.renew(ctx, kind)
}

func (s *Service) renew(ctx context.Context, kind string) error {
	sequence, err := s.announce(ctx, s.own(kind))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.joined, s.renewed = sequence, time.Now()
	s.mu.Unlock()
	return nil
}

// take applies one message of the log, and only then goes on to the next.
func (s *Service) take(ctx context.Context, msg *nats.Msg, meta *nats.MsgMetadata) error {
	log, before, _ := s.standing()
	sequence := meta.Sequence.Stream
	if sequence <= before {
		return nil // known
	}
	var named *announcement
	if msg.Subject == purgeSubject {
		if err := s.takePurge(ctx, msg, sequence); err != nil {
			return err
		}
	} else if a, err := parseAnnouncement(msg.Data, sequence); err != nil {
		s.metrics.unread.Inc()
		s.log.Warn("an announcement cannot be read", "sequence", sequence, "error", err)
	} else if a.Instance != s.instance {
		named = &a
	} else if a.Kind == kindLeave {
		// It was thought to be gone.
		if err := s.renew(ctx, kindStay); err != nil {
			return err
		}
	}
	s.move(position{Log: log, Sequence: sequence, ID: msg.Header.Get(jetstream.MsgIDHeader)})
	s.fleet.read(sequence, named)
	if named != nil && named.Kind == kindJoin && named.Node == s.set.Node && s.fleet.namesakes(s.set.Node, s.keeper.home) > 0 {
		s.log.Error(namesake, "node", s.set.Node)
	}
	// Nobody waits for what is old.
	if from := msg.Header.Get(fromHeader); from != "" && from != s.instance && time.Since(meta.Timestamp) < 2*MaxWait {
		s.report(confirmSubject + from)
	}
	return s.stay(ctx, sequence)
}

// stay announces this node anew before the log forgets that it has.
func (s *Service) stay(ctx context.Context, sequence uint64) error {
	s.mu.Lock()
	joined, renewed := s.joined, s.renewed
	s.mu.Unlock()
	select {
	case <-s.caughtUp:
	default:
		return nil
	}
	if s.set.Apply == nil || sequence < joined+uint64(s.config.MaxPurges)/4 && time.Since(renewed) < s.config.MaxAge/4 {
		return nil
	}
	return s.renew(ctx, kindStay)
}

func (s *Service) takePurge(ctx context.Context, msg *nats.Msg, sequence uint64) error {
	if s.set.Apply == nil {
		return nil
	}
	p, err := parsePurge(msg.Data, sequence)
	if err != nil {
		// Of a later version, perhaps. What it names is not known, so it is all.
		s.metrics.unread.Inc()
		s.metrics.everything.Inc()
		s.log.Error("a purge cannot be read; everything is purged", "sequence", sequence, "error", err)
		p = cdn.Purge{
			Sequence: sequence, ID: msg.Header.Get(jetstream.MsgIDHeader), Scope: cdn.PurgeAll, Time: time.Now().UTC(),
			By: s.set.Node + ": unreadable purge",
		}
	}
	return s.apply(ctx, p)
}

// apply carries a purge out. One that fails is tried again: nothing behind it may be confirmed before it.
func (s *Service) apply(ctx context.Context, p cdn.Purge) error {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		err := s.set.Apply.Purge(p)
		if err == nil {
			s.metrics.purged(p)
			return nil
		}
		s.metrics.failures.Inc()
		s.log.Error("a purge could not be applied; it is tried again", "sequence", p.Sequence, "error", err, "in", pause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// reading is a consumer of the log that pushes and takes no acknowledgements: what is missing is seen by
// the numbers of what comes, and then all is read again from the last position.
type reading struct {
	conn    *nats.Conn
	sub     *nats.Subscription
	forget  func()
	pending uint64
	taken   uint64       // number of the last message of this reading
	heard   func() error // called with all that comes; nil: nothing is
}

func (s *Service) read(ctx context.Context, config jetstream.ConsumerConfig) (*reading, error) {
	inbox := s.set.Conn.NewInbox()
	sub, err := s.set.Conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("read the log of purges: %w", err)
	}
	config.Name, config.DeliverSubject = uuid.NewString(), inbox
	config.AckPolicy, config.Replicas, config.MemoryStorage = jetstream.AckNonePolicy, 1, true
	config.FlowControl, config.IdleHeartbeat, config.InactiveThreshold = true, logHeartbeat, inactive
	asking, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	consumer, err := s.js.CreatePushConsumer(asking, streamName, config)
	if err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("read the log of purges: %w", err)
	}
	return &reading{conn: s.set.Conn, sub: sub, pending: consumer.CachedInfo().NumPending, forget: func() {
		// The server would find out by itself, a minute later.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeAttempt)
		defer cancel()
		if s.set.Conn.IsConnected() {
			_ = s.js.DeleteConsumer(ending, streamName, config.Name)
		}
	}}, nil
}

func (r *reading) close() {
	_ = r.sub.Unsubscribe()
	r.forget()
}

// next returns the next message of the log.
func (r *reading) next(ctx context.Context) (*nats.Msg, *nats.MsgMetadata, error) {
	for {
		waiting, cancel := context.WithTimeoutCause(ctx, logSilence, errSilent)
		msg, err := r.sub.NextMsgWithContext(waiting)
		if err != nil {
			err = errors.Join(context.Cause(waiting), err)
		}
		cancel()
		if err != nil {
			return nil, nil, err
		}
		if r.heard != nil {
			if err := r.heard(); err != nil {
				return nil, nil, err
			}
		}
		if msg.Header.Get("Status") != "" {
			if err := r.control(msg); err != nil {
				return nil, nil, err
			}
			continue
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, nil, fmt.Errorf("a message of the log of purges has no number: %w", err)
		}
		if meta.Sequence.Consumer != r.taken+1 {
			return nil, nil, fmt.Errorf("%w: number %d came after %d", errGap, meta.Sequence.Consumer, r.taken)
		}
		r.taken = meta.Sequence.Consumer
		return msg, meta, nil
	}
}

// control answers what the server sends between messages: a request to say that this reader keeps pace,
// and heartbeats, which say what number there should have been.
func (r *reading) control(msg *nats.Msg) error {
	if msg.Reply != "" {
		return r.conn.Publish(msg.Reply, nil)
	}
	if stalled := msg.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		if err := r.conn.Publish(stalled, nil); err != nil {
			return err
		}
	}
	if last, err := strconv.ParseUint(msg.Header.Get("Nats-Last-Consumer"), 10, 64); err == nil && last > r.taken {
		return fmt.Errorf("%w: number %d was sent, %d has come", errGap, last, r.taken)
	}
	if status := msg.Header.Get("Status"); status != "100" {
		return fmt.Errorf("the log ends the reading with status %s %s", status, msg.Header.Get("Description"))
	}
	return nil
}
