// Package runner runs commands, within this process or so that they outlive it.
//
// Exec runs a command here: when this process dies nobody learns how it ended.
//
// Runs gives commands to a runner: this program once more, with the verb Verb, in
// a session of its own. One runner serves a whole life of the node, because to
// start it takes longer than most commands. When the node is gone the runner ends
// what it began, and then itself; the next life starts another one.
//
// What is known of a run is one file in a folder. Its name is the state:
//
//	<id>.ready              Prepare wrote it: what to run. Nobody has begun.
//	<id>.run.<pid>.<start>  the runner with this pid, and this start time, took it.
//	<id>.done               its end is in the file.
//	spare.<n>               empty, to be used again: making a file is what costs most.
//
// The step from ready to run is a rename, so that of two runners only one can take
// it. That is what lets Attach be called again in every life of the node, and
// begin, await or collect the run as it finds it: a run is lost only if its runner
// is dead without having left its end, or the machine was started anew since.
//
// The name counts only as long as the kernel that renamed the file lives: each
// file has the id of the boot. What survives a boot is an end, which has a
// checksum. While the node is there to commit the end to its journal, that commit
// is what makes it durable; when it is not, the runner syncs file and folder.
package runner

// Verb is the argument that makes a program the runner: it must then call Main,
// before all else.
const Verb = "runner"
