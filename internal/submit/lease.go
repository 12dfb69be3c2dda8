package submit

// leaseState is what asking for a write lease on an open file told. A lease is
// given only while nobody else has the file open, and whoever opens it then
// waits until it is released.
type leaseState int

const (
	leaseNone leaseState = iota // the system cannot tell
	leaseHeld                   // nobody else has it open, and nobody can get in
	leaseBusy                   // somebody has it open
)
