package store

import "errors"

// Errors of Open. What to do about each stands in its text.
var (
	ErrLocked  = errors.New("the journal is in use by another steward: stop that one, or give this one another data folder")
	ErrCorrupt = errors.New("the journal is damaged")
	ErrNewer   = errors.New("the journal was written by a newer steward: upgrade this one")
	ErrForeign = errors.New("the journal belongs to another node")
	ErrGone    = errors.New("the journal is gone")
)

// Errors of an open store.
var (
	ErrClosed   = errors.New("the journal is closed")
	ErrFull     = errors.New("the disk is full: free some space, nothing that was accepted is lost")
	ErrBroken   = errors.New("the journal could not be written: see to its disk and start steward again, nothing that was accepted is lost")
	ErrNotFound = errors.New("no such message")
	ErrTooLate  = errors.New("too late")
	ErrEpoch    = errors.New("no clock gives that epoch")
)
