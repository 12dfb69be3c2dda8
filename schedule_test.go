package steward_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/internal/stewardtest"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/store"
)

var (
	seeds    = flag.Int("seeds", 50, "random schedules to run")
	fromSeed = flag.Uint64("seed", 1, "first of them; -seeds 1 -seed N replays one")
)

// TestSchedules lets commands meet random faults: lost, doubled and late
// requests and answers, links that are cut, nodes that crash or stop, messages
// that are cancelled or expire. Then the faults end, and every message must have
// its one true outcome.
func TestSchedules(t *testing.T) {
	for i := range *seeds {
		seed := *fromSeed + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay it with: go test -run TestSchedules -seeds 1 -seed %d .", seed)
				}
			}()
			newSchedule(t, seed).run()
		})
	}
}

type schedule struct {
	t       *testing.T
	rand    *rand.Rand
	c       *stewardtest.Cluster
	nodes   map[string]*stewardtest.Node
	sent    map[string]*message.Message // by id
	order   []string
	crashed bool // a receiver, while it may have run something
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	s := &schedule{
		t: t, rand: rand.New(rand.NewPCG(seed, 0)), c: stewardtest.New(t), nodes: map[string]*stewardtest.Node{},
		sent: map[string]*message.Message{},
	}
	for _, name := range []string{"central", "ship1", "ship2"} {
		s.nodes[name] = s.c.Start(name)
		s.c.Link(name).SetFault(s.fault(s.rand.Float64()*0.3, time.Duration(s.rand.IntN(20))*time.Second))
	}
	return s
}

// fault loses, doubles and delays with probability p each. It has a source of
// its own: it is asked on many goroutines. Both copies arrive together, since a
// broker that has said that nobody listens does not deliver a copy afterwards.
func (s *schedule) fault(p float64, late time.Duration) stewardtest.Fault {
	r := rand.New(rand.NewPCG(s.rand.Uint64(), 0))
	return func(stewardtest.Pub) []time.Duration {
		var delay time.Duration
		switch x := r.Float64(); {
		case x < p:
			return nil
		case x < 2*p:
			delay = time.Duration(r.Float64() * float64(late))
		}
		if r.Float64() < p {
			return []time.Duration{delay, delay}
		}
		return []time.Duration{delay}
	}
}

func (s *schedule) run() {
	defer s.c.Close()
	for range 40 + s.rand.IntN(40) {
		s.step()
		time.Sleep(time.Duration(s.rand.Float64() * float64(10*time.Second)))
	}
	for name := range s.nodes {
		s.c.Link(name).SetFault(nil)
		s.c.Link(name).Heal()
	}
	s.check()
}

func (s *schedule) step() {
	name := []string{"central", "ship1", "ship2"}[s.rand.IntN(3)]
	switch k := s.rand.IntN(20); {
	case k < 12:
		s.submit()
	case k < 14:
		s.c.Link(name).Cut()
	case k < 17:
		s.c.Link(name).Heal()
	case k == 17:
		s.crashed = s.crashed || name != "central"
		s.nodes[name].Crash()
		s.nodes[name] = s.c.Start(name)
	case k == 18:
		s.nodes[name].Stop()
		s.nodes[name] = s.c.Start(name)
	case len(s.order) > 0:
		_, _ = s.nodes["central"].Cancel(s.t.Context(), s.order[s.rand.IntN(len(s.order))]) // too late is fine
	}
}

func (s *schedule) submit() {
	m := stewardtest.Command([]string{"ship1", "ship2"}[s.rand.IntN(2)], strconv.Itoa(len(s.order)))
	switch s.rand.IntN(6) {
	case 0:
		m.Data = append(m.Data, (time.Duration(s.rand.IntN(8)) * time.Second).String())
	case 1:
		m.Expires = time.Now().Add(time.Duration(1+s.rand.IntN(60)) * time.Second)
	case 2:
		m.OnUnknown = message.Rerun
	case 3:
		m.Retries = 1 + s.rand.IntN(3)
	}
	id := s.nodes["central"].Submit(m)
	s.sent[id] = m
	s.order = append(s.order, id)
}

// check decides what must hold whatever happened.
func (s *schedule) check() {
	ended := map[string]store.Record{}
	for _, id := range s.order {
		s.nodes["central"].Outcome(id, 3*day) // says so itself if there is none
	}
	time.Sleep(time.Hour) // refinements
	for _, id := range s.order {
		r, err := s.nodes["central"].Message(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		ended[id] = r
	}
	runs, last := map[string]int{}, map[string]int{}
	for _, run := range s.c.Runs() {
		m := s.sent[run.ID]
		if runs[run.ID]++; runs[run.ID] > 1 && m.OnUnknown != message.Rerun {
			s.t.Errorf("command %s ran %d times", run.Data, runs[run.ID])
		}
		if n, _ := strconv.Atoi(run.Data); runs[run.ID] == 1 {
			if n < last[run.Node] {
				s.t.Errorf("command %d ran after %d on %s", n, last[run.Node], run.Node)
			}
			last[run.Node] = n
		}
	}
	for _, id := range s.order {
		if why := s.lie(ended[id], runs[id]); why != "" {
			s.t.Errorf("command %s is %s (%s): %s", ended[id].Data[0], ended[id].Outcome, ended[id].Reason, why)
		}
	}
}

// lie says what is wrong with an outcome, given how often the command ran.
func (s *schedule) lie(r store.Record, runs int) string {
	switch r.Outcome {
	case ack.Done:
		if runs == 0 {
			return "it never ran"
		}
	case ack.Cancelled, ack.Expired, ack.Undelivered, ack.RejectedEnd:
		if runs > 0 {
			return fmt.Sprintf("it ran %d times", runs)
		}
	case ack.Unknown:
		if !s.crashed && runs > 0 && len(r.Data) == 1 {
			return "its receiver knows that it is done"
		}
		if !s.crashed && runs == 0 {
			return "its receiver knows that it never ran"
		}
	default:
		return "no outcome of such a command"
	}
	return ""
}
