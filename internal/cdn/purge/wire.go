package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weir-stream/weir/internal/cdn"
)

// The log is a stream, and all that has to be in one order is in it. What only has to be quick goes
// beside it.
const (
	streamName     = "WEIR_PURGES"
	logSubjects    = "weir.purge.log.>"
	purgeSubject   = "weir.purge.log.purge"
	nodeSubject    = "weir.purge.log.node." // and the node's name and its process
	nodeSubjects   = nodeSubject + ">"
	confirmSubject = "weir.purge.confirm." // and the process that has asked
	aliveSubject   = "weir.purge.alive"
	askSubject     = "weir.purge.ask"

	// fromHeader names the process that waits for confirmations of a purge.
	fromHeader = "Weir-Purge-From"

	// duplicates is how long the log knows which IDs it has.
	duplicates = 10 * time.Minute
	// storeAttempt is how long one attempt to store a message may take.
	storeAttempt = time.Second
	storePause   = 50 * time.Millisecond

	maxMessageBytes = 16 << 10
)

// What a node announces in the log.
const (
	kindJoin  = "join"  // it is about to serve, when it has applied all that is before this
	kindStay  = "stay"  // it serves, and has done so since before this
	kindLeave = "leave" // it serves no more, or nobody has heard of it for long
)

// announcement is what the log says of a node. Home is its folder, by an ID that no other folder has, and Alone says
// that no other process with that folder lives; of another node that has the same name by mistake it says nothing.
type announcement struct {
	Kind     string `json:"kind"`
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Home     string `json:"home,omitempty"`
	Alone    bool   `json:"alone,omitempty"`
	// Fence is after how much time without the log it answers nothing from its cache any more.
	Fence time.Duration `json:"fence,omitempty"`

	sequence uint64
}

func (a announcement) subject() string { return nodeSubject + a.Node + "." + a.Instance }

// report is how far a process has applied the log.
type report struct {
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Log      int64  `json:"log"`
	Applied  uint64 `json:"applied"`
}

func (s *Service) streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Subjects: []string{logSubjects}, Description: "purges of the fleet's caches, and who takes part",
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		MaxAge: s.config.MaxAge, MaxMsgs: int64(s.config.MaxPurges), MaxMsgSize: maxMessageBytes,
		Duplicates: duplicates, Replicas: max(1, s.set.Replicas),
	}
}

// stream returns the log, and makes it if there is none. Nodes that are told how many servers keep it
// see to that and to its bounds; others take it as it is.
func (s *Service) stream(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, streamName)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		stream, err = s.js.CreateStream(ctx, s.streamConfig())
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = s.js.Stream(ctx, streamName) // another node was quicker
		}
	case err == nil && s.set.Replicas > 0:
		want, have := s.streamConfig(), stream.CachedInfo().Config
		if have.Replicas != want.Replicas || have.MaxAge != want.MaxAge || have.MaxMsgs != want.MaxMsgs {
			stream, err = s.js.UpdateStream(ctx, want)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the log of purges: %w", err)
	}
	return stream, nil
}

// store appends a message to the log and returns its place there, trying until ctx ends. What had been
// stored by an attempt whose answer was lost is known by its ID, and is not stored again.
func (s *Service) store(ctx context.Context, msg *nats.Msg, options ...jetstream.PublishOpt) (uint64, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, storeAttempt)
		ack, err := s.js.PublishMsg(attempt, msg, options...)
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.Code < 500 {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(err, ctx.Err())
		case <-time.After(storePause):
		}
	}
}

func (s *Service) purgeMessage(p cdn.Purge) (*nats.Msg, error) {
	p.Sequence = 0
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(purgeSubject)
	msg.Data = body
	msg.Header.Set(jetstream.MsgIDHeader, p.ID)
	msg.Header.Set(fromHeader, s.instance)
	return msg, nil
}

// announce stores an announcement, of this node or for one that has fallen silent.
func (s *Service) announce(ctx context.Context, a announcement, options ...jetstream.PublishOpt) (uint64, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return 0, err
	}
	msg := nats.NewMsg(a.subject())
	msg.Data = body
	msg.Header.Set(jetstream.MsgIDHeader, uuid.NewString())
	sequence, err := s.store(ctx, msg, options...)
	if err != nil {
		return 0, fmt.Errorf("announce %s of %s: %w", a.Kind, a.Node, err)
	}
	return sequence, nil
}

// own is an announcement of this process.
func (s *Service) own(kind string) announcement {
	return announcement{Kind: kind, Node: s.set.Node, Instance: s.instance, Home: s.keeper.home, Alone: s.keeper.own(), Fence: s.config.FenceAfter}
}

func parseAnnouncement(data []byte, sequence uint64) (announcement, error) {
	a := announcement{sequence: sequence}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	switch a.Kind {
	case kindJoin, kindStay, kindLeave:
	default:
		return a, fmt.Errorf("the kind is %q; join, stay or leave is expected", a.Kind)
	}
	if a.Node == "" || a.Instance == "" {
		return a, errors.New("node and instance are expected")
	}
	return a, nil
}

func parsePurge(data []byte, sequence uint64) (cdn.Purge, error) {
	var p cdn.Purge
	if err := json.Unmarshal(data, &p); err != nil {
		return p, err
	}
	p.Sequence = sequence
	return p, p.Validate()
}

// checkNode reports whether a name can be part of a subject.
func checkNode(name string) error {
	if name == "" || len(name) > 128 || strings.ContainsAny(name, " \t\r\n*>") || strings.HasPrefix(name, ".") ||
		strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return fmt.Errorf("the node is called %q; a name without spaces, * and >, and with nothing empty between dots is expected", name)
	}
	return nil
}

// report publishes how far this node is.
func (s *Service) report(subject string) {
	log, applied, current := s.standing()
	if !current || s.set.Apply == nil {
		return
	}
	body, err := json.Marshal(report{Node: s.set.Node, Instance: s.instance, Log: log, Applied: applied})
	if err != nil {
		return
	}
	// What is lost is asked for again.
	_ = s.set.Conn.Publish(subject, body)
}

func (s *Service) reported(msg *nats.Msg) {
	var r report
	if json.Unmarshal(msg.Data, &r) != nil {
		s.metrics.unread.Inc()
		return
	}
	s.fleet.confirm(r)
}
