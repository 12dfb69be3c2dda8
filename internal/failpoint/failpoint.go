// Package failpoint lets a process end itself at a named durable step, as if it
// had been killed there. Without the build tag failpoint a call costs nothing.
//
// STEWARD_FAILPOINT=accepted:3 kills the process with SIGKILL at the third time
// that it comes to the step named accepted; several are separated by commas.
package failpoint

// Step is a moment on a message's road, before or after something becomes durable.
type Step string

// The steps, in the order of the road. What is durable when a process ends there
// stands beside each.
const (
	Accepting  Step = "accepting"  // a submission is about to be committed: nothing
	Accepted   Step = "accepted"   // it is committed, and its submitter was not told
	Committing Step = "committing" // any transaction of the journal: all before it
	Committed  Step = "committed"  // the same, and nobody was told
	Logging    Step = "logging"    // messages.log gets a batch: nothing of the attempt
	Sending    Step = "sending"    // a batch is about to be sent: nothing of the attempt
	Answered   Step = "answered"   // its answer came: nothing of the answer
	Acking     Step = "acking"     // the answer is about to be committed
	Acked      Step = "acked"      // and was
	Receiving  Step = "receiving"  // a batch came: nothing of it
	Received   Step = "received"   // it is in the inbox, and its sender was not told
	Told       Step = "told"       // and was
	Prepared   Step = "prepared"   // what a command is to run is noted: that it was received
	Starting   Step = "starting"   // a command is about to be started: that it was received
	Started    Step = "started"    // that its run begins, which it has not
	Ran        Step = "ran"        // that its run began, and it has ended
	Finishing  Step = "finishing"  // its end is about to be committed: no more
	Finished   Step = "finished"   // its end, and its result in the outbox
	Settling   Step = "settling"   // its result came to who asked: nothing of it
	Settled    Step = "settled"    // the outcome
	GivingUp   Step = "giving-up"  // a message is about to be given up: nothing of that
	GivenUp    Step = "given-up"   // its outcome, or the void that travels in its place
	Meeting    Step = "meeting"    // another receiver journal answers: nothing of that
	Met        Step = "met"        // which journal it is, and what that ends

	Noticed     Step = "noticed"      // a bad outcome, and that the error kernel has to hear of it
	FailureKept Step = "failure-kept" // it has told of it, and does not know that for long

	LinesWritten Step = "lines-written" // TextLogging wrote lines: not yet
	LinesSynced  Step = "lines-synced"  // they are on disk, and nothing says that they count

	Claiming    Step = "claiming"     // a submitted file is about to be claimed: the file
	Claimed     Step = "claimed"      // it has its new name
	Tail        Step = "tail"         // a copy of its unfinished end
	Exchanged   Step = "exchanged"    // that copy stands in its place
	Kept        Step = "kept"         // what was refused of it is in rejected/
	FileTaken   Step = "taken"        // its messages, and how far it was read
	FileDone    Step = "done"         // it is named as one that was read to its end
	Forgotten   Step = "forgotten"    // its note is gone
	Removed     Step = "removed"      // it is gone
	ResultPart  Step = "result-part"  // a file of results/ is written under another name
	ResultThere Step = "result-there" // and has its own
	Creating    Step = "creating"     // a new journal is written under another name
	Opened      Step = "opened"       // an opening has its epoch
)

// Steps lists all of them, in that order.
var Steps = []Step{
	Accepting, Accepted, Committing, Committed, Logging, Sending, Answered, Acking, Acked, Receiving, Received, Told,
	Prepared, Starting, Started, Ran, Finishing, Finished, Settling, Settled, GivingUp, GivenUp, Meeting, Met,
	Noticed, FailureKept, LinesWritten, LinesSynced, Claiming, Claimed, Tail, Exchanged, Kept, FileTaken, FileDone, Forgotten, Removed,
	ResultPart, ResultThere, Creating, Opened,
}
