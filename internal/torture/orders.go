package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/steward-bus/steward/subject"
)

// The ways in.
const (
	byAPI    = "api"
	byDrop   = "drop"   // a file renamed into the drop folder
	byInMsg  = "inmsg"  // appended to inmsg.txt
	byHalves = "halves" // the same, in two writes with a pause between
)

// Order is a message that the workload submits. Its key is a label of it, an
// argument of its command and part of its lines: outside evidence is joined by it.
type Order struct {
	Key    string
	Lane   int           // orders of a lane are submitted one after the other
	Pause  time.Duration // before it
	At     time.Duration // not before this time of the round
	Way    string
	To     string
	Kind   subject.Kind
	Method string
	Does   string        // of a command; see effect.go
	Lives  time.Duration // lifetime; 0: long
	Runs   time.Duration // methodTimeout; 0: long
	Tries  int           // retries; 0: without end
	Rerun  bool          // onUnknown: rerun
	Cancel time.Duration // that long after its acceptance; 0: never
	Bad    bool          // no document at all
}

// refusedMethod is one that all nodes have and take from nobody, as configuration
// says: a receiver has to refuse it.
const (
	refusedMethod = "HTTPGet"
	configuration = "allow: {" + refusedMethod + ": [nobody]}\n"
)

// effects reports whether a run of the order leaves a line in the file of effects.
func (o Order) effects() bool { return strings.HasPrefix(o.Method, "CLICommand") && o.Does != "" }

// endless reports whether its command ends at its limit only.
func (o Order) endless() bool { return o.Does == doHang || o.Does == doStubborn || o.Does == doSpew }

// document is the order as text of a submission. Commands run exe, and leave
// their effect in a file of dir.
func (o Order) document(exe, dir string) []byte {
	if o.Bad {
		return []byte(`{"toNode":"` + o.Key + `","data":[]}` + "\n")
	}
	doc := map[string]any{
		"toNode": o.To, "commandOrEvent": string(o.Kind), "method": o.Method,
		"labels": map[string]string{"key": o.Key}, "data": []string{o.Key},
	}
	switch {
	case o.effects():
		doc["data"] = []string{exe, "effect", effectsOf(dir, o.To), o.Key, o.Does}
	case o.Method == refusedMethod:
		doc["data"] = []string{"http://127.0.0.1:1/" + o.Key}
	case o.Method == "CLICommand":
		doc["data"] = []string{"/nonexistent/" + o.Key}
	case o.Method == "TextLogging":
		doc["data"] = []string{o.Key + " first", o.Key + " second"}
		doc["fileName"] = linesFile(o.Kind)
	}
	for name, d := range map[string]time.Duration{"expires": o.Lives, "methodTimeout": o.Runs} {
		if d > 0 {
			doc[name] = d.String()
		}
	}
	if o.Tries > 0 {
		doc["retries"] = o.Tries
	}
	if o.Rerun {
		doc["onUnknown"] = "rerun"
	}
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return append(b, '\n')
}

func linesFile(k subject.Kind) string { return strings.ToLower(string(k)) + ".txt" }

// orders makes n of them, for ships ship1 to ship<ships>.
func orders(rng *rand.Rand, round, n, ships int) []Order {
	list := make([]Order, n)
	var storm Order
	for i := range list {
		o := anyOrder(rng)
		o.Lane = i % lanes
		if i%(lanes*burst) == 0 {
			storm = anyStorm(rng, ships)
		}
		o.Key = fmt.Sprintf("r%d-%d-%d", round, o.Lane, i)
		o.To = "ship" + strconv.Itoa(1+rng.IntN(ships))
		if o.Lane >= stormLane {
			o.To, o.Kind, o.Method, o.Does = storm.To, storm.Kind, storm.Method, storm.Does
			o.Lives, o.Tries, o.Runs, o.Rerun, o.Cancel = 0, 0, 0, false, 0
		}
		o.Way = byAPI
		if o.Lane == fileLane {
			o.Way = []string{byDrop, byDrop, byInMsg, byInMsg, byHalves}[rng.IntN(5)]
			o.Bad = rng.IntN(25) == 0
			o.Cancel = 0 // its submitter has no receipt to cancel by
		}
		list[i] = o
	}
	return list
}

// Lanes of submitters: two by API, one by file, and two by API that submit to one
// subject at once.
const (
	lanes     = 5
	fileLane  = 2
	stormLane = 3
	burst     = 4 // orders of a lane that come one upon the other, in the lanes that have pauses between bursts only
)

// anyStorm is what all orders of a storm are like, so that their order can be seen.
func anyStorm(rng *rand.Rand, ships int) Order {
	o := Order{To: "ship" + strconv.Itoa(1+rng.IntN(ships)), Kind: subject.EventACK, Method: "TextLogging"}
	if rng.IntN(2) == 0 {
		o.Kind, o.Method, o.Does = subject.CommandACK, "CLICommand", fmt.Sprint(doOK, ":", rng.IntN(100))
	}
	return o
}

// spread gives the orders their times within a round of that length.
func spread(rng *rand.Rand, list []Order, length time.Duration) {
	mean := length * lanes / time.Duration(len(list))
	for i := range list {
		o := &list[i]
		nth := i / lanes
		switch {
		case o.Lane >= stormLane:
			o.At = mean * time.Duration(nth/burst*burst+1)
		case o.Lane == fileLane && nth%burst > 0:
		case o.Lane == fileLane: // between bursts nobody syncs the folders
			o.Pause = time.Duration(rng.Int64N(int64(2 * burst * mean)))
		default:
			o.Pause = time.Duration(rng.Int64N(int64(2 * mean)))
		}
	}
}

func anyOrder(rng *rand.Rand) Order {
	o := Order{Kind: subject.CommandACK, Method: "CLICommand"}
	switch p := rng.IntN(100); {
	case p < 34:
		o.Does = anyDeed(rng)
	case p < 46:
		o.Method, o.Does = "CLICommandConcurrent", anyDeed(rng)
	case p < 58:
		o.Method = "Echo"
	case p < 64:
		o.Kind, o.Does = subject.CommandNACK, fmt.Sprint(doOK, ":", rng.IntN(100))
	case p < 86:
		o.Kind, o.Method = subject.EventACK, "TextLogging"
	case p < 92:
		o.Kind, o.Method = subject.EventNACK, "TextLogging"
	case p < 94:
		o.Method = refusedMethod
	case p < 95: // a program that is not there
	default:
		o.Does, o.Rerun = fmt.Sprint(doSlow, ":", rng.IntN(200)), true
	}
	if !o.Kind.Acked() {
		return o
	}
	switch p := rng.IntN(100); {
	case o.endless():
		o.Runs = 500 * time.Millisecond
	case p < 4:
		o.Lives = time.Duration(500+rng.IntN(1500)) * time.Millisecond
	case p < 8:
		o.Tries = 1 + rng.IntN(3)
	case p < 13:
		o.Cancel = time.Duration(1+rng.IntN(300)) * time.Millisecond
	}
	return o
}

// anyDeed is what a command does: mostly little, now and then what nobody likes.
func anyDeed(rng *rand.Rand) string {
	switch p := rng.IntN(100); {
	case p < 55:
		return fmt.Sprint(doOK, ":", rng.IntN(2000))
	case p < 80:
		return fmt.Sprint(doSlow, ":", 20+rng.IntN(150))
	case p < 90:
		return fmt.Sprint(doFail, ":", 1+rng.IntN(100))
	case p < 93:
		return doHang
	case p < 94:
		return doStubborn
	case p < 95:
		return doSpew
	case p < 97:
		return doFork
	}
	return fmt.Sprint(doFlood, ":", 2<<20)
}
