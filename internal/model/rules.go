package model

import "strings"

// Rule is a sentence of the protocol that can be switched off; or several.
type Rule uint64

// The rules, and where the code keeps them.
const (
	EpochPerOpening        Rule = 1 << iota // DB.identify: each opening has an epoch, above every earlier one
	Prefix                                  // store.Next: a batch is a prefix of what waits
	ProbeStranger                           // Publisher.stranger: nothing is sent to a journal before it is met
	ReadIsAttempt                           // store.Next: what is read to be sent counts as sent from then on
	RefusedIsAttempt                        // Publisher.send: what another journal refused counts as sent still
	RefusedByOlder                          // Publisher.send: unless that one was there before it was sent
	OpeningCountsAsAttempt                  // DB.countOutbox: what an opening finds waiting on an open road may have been sent
	NewRoadShut                             // store.newRoad: on a new road nothing was sent
	NobodyShuts                             // Publisher.unsent: who is not there has been sent nothing more, and the next opening knows it
	StopShuts                               // Publisher.Run: nor does anything leave a node that stops
	ShutAsks                                // Publisher.send: on a shut road nothing is sent before Met
	MetOpens                                // store.Met: the road is open on disk before anything is sent on it
	ShutByJournal                           // DB.countOutbox: what a copied journal says of its road is not believed
	GiveUpUnknown                           // store.giveUp: after an attempt it is unknown, not expired
	VoidTravels                             // store.giveUp: and a void travels in its place
	VoidIsNotSent                           // store.answered: that the broker has a void does not say that it had the message
	VoidOutlivesAck                         // store.answered: an ack that was on its way does not stop the void
	MetEndsSent                             // store.Met: what may have been sent to another journal is unknown
	MetRerunGoesOn                          // store.Met: but for what may run again
	RerunMayHaveRun                         // store.Met, status.never: and may have run before, whatever the new journal says
	AcksBeforeMet                           // store.Met: acks that were on their way to the disk come first
	AnswerOfAsked                           // Publisher.send: what another journal says than the one that was asked is no answer
	StaleIsUnknown                          // store.answered: stale is no acceptance
	AskOverdue                              // Publisher.ask: a result that does not come is asked for
	AskMeets                                // Publisher.ask: an answer of another journal is no answer
	OnlyUnknownRefined                      // receiver.settle: only unknown is refined
	ForStore                                // receiver.receive: a batch is for one journal
	Fence                                   // receiver.fence: an earlier opening of the sender is not listened to
	MarkWithInbox                           // store.Receive: mark and inbox in one transaction
	AdoptSettled                            // receiver.receive: a mark below settled is lost history, and adopted
	LossRepeated                            // receiver.receive: and said until the sender says that it was heard
	StoredAcks                              // receiver.repeat: a repeat gets the word that was given
	ExactAcks                               // receiver.remember: and what was not decided on has none
	HistoryAnswers                          // receiver.repeat: where it was forgotten, what the journal says of the message
	BusyEndsBatch                           // receiver.receive: nothing is accepted after a busy one
	StartedFirst                            // Worker.single: started is committed before the run
	ExpiredNotStarted                       // Worker.expired: what was started does not expire
	FinishWithResult                        // store.Finish: out of the inbox and the result queued in one transaction
	ResultAgain                             // store.Ask: a result that its sender lost is sent again
	AskTellsCancelled                       // store.Ask: that it was taken out before it ran
	CopyNoticed                             // DB.identify: a copy has an identity of its own
	CopyDoesNotRun                          // store.suspect: and what waits in its inbox may have been run
	RunTakenUp                              // Worker.lasting: a run that outlived the node is not begun again
)

var ruleNames = [...]string{
	"EpochPerOpening", "Prefix", "ProbeStranger", "ReadIsAttempt", "RefusedIsAttempt", "RefusedByOlder", "OpeningCountsAsAttempt",
	"NewRoadShut", "NobodyShuts", "StopShuts", "ShutAsks", "MetOpens", "ShutByJournal",
	"GiveUpUnknown", "VoidTravels", "VoidIsNotSent", "VoidOutlivesAck", "MetEndsSent", "MetRerunGoesOn", "RerunMayHaveRun",
	"AcksBeforeMet", "AnswerOfAsked", "StaleIsUnknown", "AskOverdue", "AskMeets", "OnlyUnknownRefined", "ForStore", "Fence",
	"MarkWithInbox", "AdoptSettled", "LossRepeated", "StoredAcks", "ExactAcks", "HistoryAnswers", "BusyEndsBatch", "StartedFirst",
	"ExpiredNotStarted", "FinishWithResult", "ResultAgain", "AskTellsCancelled", "CopyNoticed", "CopyDoesNotRun",
	"RunTakenUp",
}

// Rules lists all of them.
func Rules() (list []Rule) {
	for r := range len(ruleNames) {
		list = append(list, 1<<r)
	}
	return list
}

func (r Rule) String() string {
	var list []string
	for i, name := range ruleNames {
		if r>>i&1 == 1 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

func (m *Model) has(r Rule) bool { return m.Without&r == 0 }
