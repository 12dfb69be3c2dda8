package main

// bug is a mistake that somebody could make: some text of the source in another
// form. The source itself holds no bug, not even behind a build tag; `go build
// -overlay` puts them there. A campaign that does not catch each of them could
// not have caught the real one.
type bug struct {
	name   string
	what   string
	faults []string // under which it shows
	edits  []edit
}

// bugs is the table of them.
func bugs() []bug {
	return []bug{
		{"no-fsync", "the journal's pages are never synced", []string{faultPower}, []edit{
			{folder: "store", old: "&bolt.Options{Timeout: time.Second, NoFreelistSync", new: "&bolt.Options{Timeout: time.Second, NoSync: true, NoGrowSync: true, NoFreelistSync"},
		}},
		{"journal-folder-not-synced", "the names in the data folder are not made durable", []string{faultPower}, []edit{
			{folder: "internal/submit", old: "if err := syncDir(w.Dir); err != nil {", new: "if err := error(nil); err != nil {"},
			{folder: "internal/runner", old: "if err := syncDir(filepath.Dir(dir)); err != nil {", new: "if err := error(nil); err != nil {"},
			{folder: "store", old: "func syncDir(dir string) error {\n", new: "func syncDir(dir string) error {\n\tif dir != \"\" {\n\t\treturn nil\n\t}\n"},
		}},
		{"claim-folder-not-synced", "the rename that claims a file is not made durable", []string{faultPower}, []edit{
			{folder: "internal/submit", old: "for _, d := range dirs {\n\t\tif err := syncDir(d)", new: "for _, d := range dirs[:0] {\n\t\tif err := syncDir(d)"},
		}},
		{"lines-not-synced", "lines of a log count before they are on disk", []string{faultPower}, []edit{
			{folder: "internal/method", old: "if err := syncData(f.File); err != nil {", new: "if err := error(nil); err != nil {"},
		}},
		{"commit-error-swallowed", "a commit that failed is taken for one", []string{faultDisk}, []edit{
			{folder: "store", old: "if err := tx.Commit(); err != nil {", new: "if err := tx.Commit(); err != nil && false {"},
		}},
		{"checksum-unchecked", "a record is taken whatever its checksum says", []string{faultFlip}, []edit{
			{folder: "store", old: "binary.LittleEndian.Uint32(v) != sum(key, v[4:])", new: "false"},
		}},
		{"told-before-commit", "a submitter is told before its message is durable", []string{faultKill, faultPoint}, []edit{
			{folder: "store", old: "\tfailpoint.Hit(failpoint.Accepting)\n", imports: []string{"time"},
				new: "\tfailpoint.Hit(failpoint.Accepting)\n\tif !byFile {\n\t\tgo func() {\n\t\t\ttime.Sleep(3 * time.Millisecond)\n\t\t\t_ = db.w.do(func(tx *bolt.Tx) error { _ = beside(tx); return db.putOut(tx, out) }, func() { db.countNew(out) })\n\t\t}()\n\t\treturn nil\n\t}\n"},
		}},
		{"ack-before-commit", "a receiver acknowledges what it has not committed", []string{faultKill, faultPoint}, []edit{
			{folder: "process", old: "\tgot, err := s.Store.Receive(batches...)",
				new: "\tfor i, r := range asked {\n\t\tif batches[i].For == s.Store.ID() && s.Method != nil {\n\t\t\ts.respond(r, answer{Store: s.Store.ID(), Acks: []ackRun{{ack.Ack{Verdict: ack.Accepted}, len(batches[i].Items)}}})\n\t\t}\n\t}\n\tgot, err := s.Store.Receive(batches...)"},
		}},
		{"place-before-commit", "places are given before the transaction that keeps them", []string{faultStop}, []edit{
			{folder: "store", old: "\tfailpoint.Hit(failpoint.Accepting)\n", imports: []string{"time", "math/rand/v2", "sync/atomic"},
				new: "\tfailpoint.Hit(failpoint.Accepting)\n\tfor _, m := range ms {\n\t\tm.Place.Seq = planted.Add(1)\n\t}\n\ttime.Sleep(rand.N(5 * time.Millisecond))\n"},
			{folder: "store", old: "\t\tseq, err := out.NextSequence()\n", new: "\t\tvar err error\n\t\tseq := o.m.Place.Seq\n\t\tif seq == 0 {\n\t\t\tseq = planted.Add(1)\n\t\t}\n"},
			{folder: "store", old: "// outgoing is a message", new: "var planted atomic.Uint64\n\n// outgoing is a message"},
		}},
		{"mark-apart", "a receiver's mark is not in the transaction that fills its inbox", []string{faultKill, faultPoint, faultMess}, []edit{
			{folder: "store", old: "return reply, r.tx.Bucket(bucketLanes).Put(r.key, r.lane.encode(r.key))",
				new: "key, v := r.key, r.lane.encode(r.key)\n\tr.db.w.later(func(tx *bolt.Tx) error { return tx.Bucket(bucketLanes).Put(key, v) }, nil)\n\treturn reply, nil"},
		}},
		{"marks-forgotten", "a receiver that starts knows nothing of what it had", []string{faultKill, faultPoint}, []edit{
			{folder: "store", old: "\tmeta := tx.Bucket(bucketMeta)\n\tget :=", new: "\t_ = tx.DeleteBucket(bucketLanes)\n\t_, _ = tx.CreateBucket(bucketLanes)\n\tmeta := tx.Bucket(bucketMeta)\n\tget :="},
		}},
		{"old-copies-taken", "what is below the mark and not remembered is taken for new", []string{faultCopies}, []edit{
			{folder: "store", old: "if item.Place.Compare(r.lane.mark) <= 0 {", new: "if item.Place.Compare(r.lane.mark) <= 0 && len(r.lane.runs) > 0 && r.lane.runs[0].from.Compare(item.Place) <= 0 {"},
			{folder: "store", old: "\tr.lane.mark = p\n", new: "\tif p.Compare(r.lane.mark) > 0 {\n\t\tr.lane.mark = p\n\t}\n"},
		}},
		{"started-forgotten", "that a command began is not committed, and it is prepared anew", []string{faultKill, faultPoint}, []edit{
			{folder: "process", old: "back, err := w.Store.Started(w.Lane, k.Place)", new: "back, err := w.Store.Started(w.Lane)"},
			{folder: "process", old: "\tfailpoint.Hit(failpoint.Prepared)\n", new: "\t_ = w.Method.Lasting.Forget(k.Message)\n\t\t\t_ = w.Method.Lasting.Prepare(k.Message)\n\t\t\tfailpoint.Hit(failpoint.Prepared)\n"},
		}},
		{"result-dropped", "a result that waits when a node starts is not sent", []string{faultKill, faultPoint}, []edit{
			{folder: ".", old: "slices.Concat(waiting, awaiting)", new: "slices.Concat(waiting[:0], awaiting)"},
		}},
		{"wrong-settle", "whatever a result says, its command is done", nil, []edit{
			{folder: "store", old: "st.state, st.outcome, st.ended, st.reason = Ended, res.Outcome, r.now, res.Error", new: "st.state, st.outcome, st.ended, st.reason = Ended, ack.Done, r.now, res.Error"},
		}},
		{"result-cut", "of a command's output the first kilobyte is kept", nil, []edit{
			{folder: "process", old: "run(stop, w.Method, k.Message", new: "cut(stop, w.Method, k.Message"},
			{folder: "process", old: "// LengthKey is", new: "func cut(ctx context.Context, m *Method, msg *message.Message, at time.Time, n int) (message.Result, *Panicked) {\n\tr, p := run(ctx, m, msg, at, n)\n\tr.Stdout = r.Stdout[:min(len(r.Stdout), 1024)]\n\treturn r, p\n}\n\n// LengthKey is"},
		}},
		{"given-up-too-soon", "what may have been sent is called expired", []string{faultMess, faultStop, faultKill}, []edit{
			{folder: "store", old: "sent := acked || mayHaveBeenSent(o, p)", new: "sent := acked"},
		}},
		{"offset-apart", "how far a file was read is kept apart from its messages", []string{faultKill, faultPoint}, []edit{
			{folder: "internal/submit", old: "\tif err := t.Accept(ctx, ms, c.key(), note); err != nil {",
				new: "\tif err := t.Accept(ctx, ms, c.key()+\"x\", nil); err != nil {\n\t\treturn err\n\t}\n\ttime.Sleep(5 * time.Millisecond)\n\tif err := t.Accept(ctx, nil, c.key(), note); err != nil {"},
		}},
		{"length-apart", "how long a log is is not kept with the end of its messages", []string{faultKill, faultPoint}, []edit{
			{folder: "process", old: "\t\t\treturn w.finish(done, lengths)", new: "\t\t\terr := w.finish(done, nil)\n\t\t\ttime.Sleep(5 * time.Millisecond)\n\t\t\tif e := w.Store.Finish(w.Lane, nil, notesOf(lengths)...); e != nil {\n\t\t\t\treturn e\n\t\t\t}\n\t\t\treturn err"},
			{folder: "process", old: "// LengthKey is", new: "func notesOf(lengths []FileLength) (notes []store.Note) {\n\tfor _, l := range lengths {\n\t\tnotes = append(notes, store.Note{Key: LengthKey(l.Name), Value: fmt.Appendf(nil, \"%d\", l.Length)})\n\t}\n\treturn notes\n}\n\n// LengthKey is"},
		}},
		{"two-at-once", "commands of a sender run two at a time", nil, []edit{
			{folder: "internal/method", old: "Concurrent: 1,", new: "Concurrent: 2,"},
		}},
		{"silent-failure", "the error kernel is not told of outcomes", nil, []edit{
			{folder: ".", old: "if c, bad := classes[x.Outcome]; bad {", new: "if c, bad := classes[x.Outcome]; bad && false {"},
		}},
		{"unbounded-queue", "what was sent is kept in memory for ever", nil, []edit{
			{folder: "process", old: "\tp.limit = min(batchCount, p.limit*2)\n", imports: []string{"bytes"}, new: "\tp.limit = min(batchCount, p.limit*2)\n\tfor range entries {\n\t\tplanted = append(planted, bytes.Repeat([]byte{1}, 8<<20))\n\t}\n"},
			{folder: "process", old: "// Limits of one request.\n", new: "var planted [][]byte\n\n// Limits of one request.\n"},
		}},
		{"one-for-all", "one request at a time for all subjects", []string{faultStop, faultLink}, []edit{
			{folder: ".", old: "\tb, err := c.Request(ctx, s.String(), h, data)", imports: []string{"sync"}, new: "\tplanted.Lock()\n\tdefer planted.Unlock()\n\tctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)\n\tdefer cancel()\n\tb, err := c.Request(ctx, s.String(), h, data)"},
			{folder: ".", old: "// wire is the connection", new: "var planted sync.Mutex\n\n// wire is the connection"},
		}},
		{"limit-ignored", "commands have no limit", nil, []edit{
			{folder: "internal/method", old: "Limit: m.RunLimit()", new: "Limit: time.Hour", imports: []string{"time"}},
		}},
		{"stop-hangs", "a node takes 15 seconds to end", nil, []edit{
			{folder: ".", old: "func (n *Node) disconnect() {\n", new: "func (n *Node) disconnect() {\n\ttime.Sleep(15 * time.Second)\n"},
		}},
	}
}
