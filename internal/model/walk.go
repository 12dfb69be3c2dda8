package model

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"time"
)

// forgetAt bounds what a walk remembers of states that come to a good rest.
const forgetAt = 5_000_000

// Walk goes deeper than Explore can, at random: so many walks, each of up to length
// steps. Of a violation that it finds it leaves out every step that it can.
func (m *Model) Walk(walks, length int, seed uint64) (rep Report) {
	x := explorer{m: m, seed: maphash.MakeSeed(), good: map[uint64]struct{}{}}
	random, began := rand.New(rand.NewPCG(seed, 0)), time.Now()
	defer func() { rep.Took = time.Since(began).Round(time.Millisecond) }()
	rep.Depth = length
	for range walks {
		if len(x.good) > forgetAt {
			clear(x.good)
		}
		w, way := m.start(), []step(nil)
		for range length {
			steps := m.steps(&w, nil)
			if len(steps) == 0 {
				break
			}
			s := steps[random.IntN(len(steps))]
			way = append(way, s)
			m.step(&w, s)
			rep.States++
			if wrong, _ := x.judge(w); wrong != fine {
				way = x.shorten(way, wrong)
				_, rest := x.follow(way)
				rep.Violation, rep.Trace = wrong.String(), x.tell(way, rest)
				return rep
			}
		}
	}
	return rep
}

// shorten leaves out steps as long as the rest goes wrong in the same way.
func (x *explorer) shorten(way []step, wrong violation) []step {
	for again := true; again; {
		again = false
		for i := len(way) - 1; i >= 0; i-- {
			if less := slices.Delete(slices.Clone(way), i, i+1); x.wrong(less) == wrong {
				way, again = less, true
			}
		}
	}
	return way
}

func (x *explorer) wrong(way []step) violation {
	wrong, _ := x.follow(way)
	return wrong
}

// follow takes the steps of way, each of which must be one that can be taken.
func (x *explorer) follow(way []step) (wrong violation, rest []step) {
	w := x.m.start()
	for _, s := range way {
		if !slices.Contains(x.m.steps(&w, nil), s) {
			return fine, nil
		}
		if x.m.step(&w, s); w.truth.wrong != fine {
			return w.truth.wrong, nil
		}
	}
	return x.judge(w)
}
