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

// edit replaces text that stands once in a file of the module.
type edit struct{ file, old, new string }

// bugs is the table of them.
func bugs() []bug {
	return []bug{
		{"no-fsync", "the journal's pages are never synced", []string{faultPower}, []edit{
			{"store/open.go", "&bolt.Options{Timeout: time.Second, NoFreelistSync", "&bolt.Options{Timeout: time.Second, NoSync: true, NoGrowSync: true, NoFreelistSync"}}},
		{"journal-folder-not-synced", "a new journal's name is not made durable", []string{faultPower}, []edit{
			{"store/open.go", "return syncDir(filepath.Dir(path)) // bbolt does not", "return nil"}}},
		{"claim-folder-not-synced", "the rename that claims a file is not made durable", []string{faultPower}, []edit{
			{"internal/submit/take.go", "for _, d := range dirs {\n\t\tif err := syncDir(d)", "for _, d := range dirs[:0] {\n\t\tif err := syncDir(d)"}}},
		{"lines-not-synced", "lines of a log count before they are on disk", []string{faultPower}, []edit{
			{"internal/method/logfile.go", "if err := syncData(f.File); err != nil {", "if err := error(nil); err != nil {"}}},
		{"commit-error-swallowed", "a commit that failed is taken for one", []string{faultDisk}, []edit{
			{"store/writer.go", "if err := tx.Commit(); err != nil {", "if err := tx.Commit(); err != nil && false {"}}},
		{"told-before-commit", "a submitter is told before its message is durable", []string{faultKill, faultPoint}, []edit{
			{"store/outbox.go", "\treturn db.w.do(func(tx *bolt.Tx) error {\n\t\tif err := db.putOut(tx, ms, events, byFile)",
				"\tgo func() { _ = db.w.do(func(tx *bolt.Tx) error { time.Sleep(time.Millisecond); return db.putOut(tx, ms, events, byFile) }, func() { db.countNew(ms) }) }()\n\tif len(notes) == 0 {\n\t\treturn nil\n\t}\n\treturn db.w.do(func(tx *bolt.Tx) error {\n\t\tif err := db.putOut(tx, nil, nil, byFile)"}}},
		{"ack-before-commit", "a receiver acknowledges what it has not committed", []string{faultKill, faultPoint}, []edit{
			{"process/subscriber.go", "\tgot, err := s.Store.Receive(batches...)",
				"\tfor i, r := range asked {\n\t\tif batches[i].For == s.Store.ID() && s.Method != nil {\n\t\t\ts.respond(r, answer{Store: s.Store.ID(), Acks: slices.Repeat([]ack.Ack{{Verdict: ack.Accepted}}, len(batches[i].Items))})\n\t\t}\n\t}\n\tgot, err := s.Store.Receive(batches...)"},
			{"process/subscriber.go", "\t\"log/slog\"\n", "\t\"log/slog\"\n\t\"slices\"\n"}}},
		{"place-before-commit", "places are given before the transaction that keeps them", []string{faultStop}, []edit{
			{"store/outbox.go", "\tfailpoint.Hit(failpoint.Accepting)\n", "\tfailpoint.Hit(failpoint.Accepting)\n\tfor _, m := range ms {\n\t\tm.Place.Seq = planted.Add(1)\n\t}\n\ttime.Sleep(rand.N(2 * time.Millisecond))\n"},
			{"store/outbox.go", "\t\tseq, err := out.NextSequence()\n", "\t\tvar err error\n\t\tseq := m.Place.Seq\n\t\tif seq == 0 {\n\t\t\tseq = planted.Add(1)\n\t\t}\n"},
			{"store/outbox.go", "// Note is a value", "var planted atomic.Uint64\n\n// Note is a value"},
			{"store/outbox.go", "\t\"context\"\n", "\t\"context\"\n\t\"math/rand/v2\"\n\t\"sync/atomic\"\n"}}},
		{"mark-apart", "a receiver's mark is not in the transaction that fills its inbox", []string{faultKill, faultPoint, faultMess}, []edit{
			{"store/inbox.go", "return reply, r.tx.Bucket(bucketLanes).Put(r.key, r.lane.encode(r.key))",
				"key, v := r.key, r.lane.encode(r.key)\n\tr.db.w.later(func(tx *bolt.Tx) error { return tx.Bucket(bucketLanes).Put(key, v) }, nil)\n\treturn reply, nil"}}},
		{"marks-forgotten", "a receiver that starts knows nothing of what it had", []string{faultKill, faultPoint}, []edit{
			{"store/open.go", "\tmeta := tx.Bucket(bucketMeta)\n", "\tmeta := tx.Bucket(bucketMeta)\n\t_ = tx.DeleteBucket(bucketLanes)\n\t_, _ = tx.CreateBucket(bucketLanes)\n"}}},
		{"old-copies-taken", "what is below the mark and not remembered is taken for new", []string{faultCopies}, []edit{
			{"store/inbox.go", "if item.Place.Compare(r.lane.mark) <= 0 {", "if item.Place.Compare(r.lane.mark) <= 0 && len(r.lane.runs) > 0 && r.lane.runs[0].from.Compare(item.Place) <= 0 {"},
			{"store/inbox.go", "\tr.lane.mark = p\n", "\tif p.Compare(r.lane.mark) > 0 {\n\t\tr.lane.mark = p\n\t}\n"}}},
		{"started-after-run", "that a command begins is committed when it has run", []string{faultKill, faultPoint}, []edit{
			{"process/worker.go", "gone, err := w.Store.Started(w.Lane, k.Place)", "gone, err := w.Store.Started(w.Lane)"},
			{"process/worker.go", "\tfailpoint.Hit(failpoint.Ran)\n", "\t_, _ = w.Store.Started(w.Lane, k.Place)\n\tfailpoint.Hit(failpoint.Ran)\n"}}},
		{"result-dropped", "a result that waits when a node starts is not sent", []string{faultKill, faultPoint}, []edit{
			{"node.go", "slices.Concat(waiting, awaiting)", "slices.Concat(waiting[:0], awaiting)"}}},
		{"wrong-settle", "whatever a result says, its command is done", nil, []edit{
			{"store/inbox.go", "st.state, st.outcome, st.ended, st.reason = Ended, res.Outcome, r.now, res.Error", "st.state, st.outcome, st.ended, st.reason = Ended, ack.Done, r.now, res.Error"}}},
		{"result-cut", "of a result's output the first kilobyte is kept", nil, []edit{
			{"process/worker.go", "\tr := w.run(k)\n\tfailpoint", "\tr := w.run(k)\n\tr.Stdout = r.Stdout[:min(len(r.Stdout), 1024)]\n\tfailpoint"}}},
		{"given-up-too-soon", "what may have been sent is called expired", []string{faultMess, faultStop, faultKill}, []edit{
			{"store/outbox.go", "\tif !sent {\n", "\tif !sent || !acked {\n"}}},
		{"offset-apart", "how far a file was read is kept apart from its messages", []string{faultKill, faultPoint}, []edit{
			{"internal/submit/claim.go", "\tif err := t.Accept(ctx, ms, c.key(), note); err != nil {",
				"\tif err := t.Accept(ctx, ms, c.key()+\"x\", nil); err != nil {\n\t\treturn err\n\t}\n\ttime.Sleep(5 * time.Millisecond)\n\tif err := t.Accept(ctx, nil, c.key(), note); err != nil {"}}},
		{"length-apart", "how long a log is is not kept with the end of its messages", []string{faultKill, faultPoint}, []edit{
			{"process/worker.go", "\t\t\treturn w.finish(done, lengths)", "\t\t\terr := w.finish(done, nil)\n\t\t\ttime.Sleep(5 * time.Millisecond)\n\t\t\tif e := w.Store.Finish(w.Lane, nil, notesOf(lengths)...); e != nil {\n\t\t\t\treturn e\n\t\t\t}\n\t\t\treturn err"},
			{"process/worker.go", "// LengthKey is", "func notesOf(lengths []FileLength) (notes []store.Note) {\n\tfor _, l := range lengths {\n\t\tnotes = append(notes, store.Note{Key: LengthKey(l.Name), Value: fmt.Appendf(nil, \"%d\", l.Length)})\n\t}\n\treturn notes\n}\n\n// LengthKey is"}}},
		{"two-at-once", "commands of a sender run two at a time", nil, []edit{
			{"internal/method/cli.go", "Concurrent: 1,", "Concurrent: 2,"}}},
		{"silent-failure", "the error kernel is not told of outcomes", nil, []edit{
			{"report.go", "if c, bad := classes[e.Outcome]; bad {", "if c, bad := classes[e.Outcome]; bad && false {"}}},
		{"unbounded-queue", "what was sent is kept in memory for ever", nil, []edit{
			{"process/publisher.go", "\tp.limit = min(batchCount, p.limit*2)\n", "\tp.limit = min(batchCount, p.limit*2)\n\tfor range entries {\n\t\tplanted = append(planted, bytes.Repeat([]byte{1}, 8<<20))\n\t}\n"},
			{"process/publisher.go", "// Limits of one request.\n", "var planted [][]byte\n\n// Limits of one request.\n"},
			{"process/publisher.go", "import (\n", "import (\n\t\"bytes\"\n"}}},
		{"one-for-all", "one request at a time for all subjects", []string{faultStop, faultLink}, []edit{
			{"wire.go", "\tb, err := c.Request(ctx, s.String(), h, data)", "\tplanted.Lock()\n\tdefer planted.Unlock()\n\tctx = context.WithoutCancel(ctx)\n\tctx, cancel := context.WithTimeout(ctx, 3*time.Second)\n\tdefer cancel()\n\tb, err := c.Request(ctx, s.String(), h, data)"},
			{"wire.go", "// wire is the connection", "var planted sync.Mutex\n\n// wire is the connection"},
			{"wire.go", "\t\"strings\"\n", "\t\"strings\"\n\t\"sync\"\n"}}},
		{"children-left", "what runs when a node ends is left alone", []string{faultTerm}, []edit{
			{"internal/method/cli.go", "if !c.leave(cmd.Process) {", "if false {"}}},
	}
}
