// Package torture holds the tests that kill real steward processes with -9 while
// they work, and judge by outside evidence only: what the submitter was told,
// what the commands left on disk, and which outcomes the node tells afterwards.
package torture
