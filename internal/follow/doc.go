// Package follow reads log files and the systemd journal as they grow and hands
// their lines over as messages, nothing lost and nothing twice.
//
// The promise rests on one thing: the position up to which a source was read is
// stored by the same durable transaction that takes its lines (Follower.Accept).
// The source itself is the buffer: while Accept blocks or fails, nothing is read
// on, and nothing is held but one batch for each source.
//
// A file is known by device, inode and the hashes of two pieces of it: its first
// bytes, and the last ones before the position. Names do not matter, so that
//
//   - a file that was renamed is read to its end, then its successor from the
//     start, also if steward was down meanwhile, and also if the file was
//     renamed several times and files between it and the present one were never
//     seen under their first name;
//   - a file that was truncated, or that has an inode which was used before, is
//     read from the start;
//   - a copy that copytruncate made beside the file is found by what is in it,
//     read from where the truncated file was left, and never read twice;
//   - a file that appeared and was rotated before anything of it was read, once or
//     more often, also while steward was down, is recognised by the name that
//     rotation gave it and read before what has its first name now. Rotated files
//     that were there when the source was first followed are history: they are
//     remembered, by inode and first bytes, and not read.
//
// What no follower can do, or this one does not:
//
//   - copytruncate has a race of its own: lines written after the copy and before
//     the truncation are in no file any more. Rotate by rename where each line
//     counts. The writer must append (O_APPEND), else it leaves a hole of zeros
//     at the start of the truncated file.
//   - Rotated files are recognised among unseen ones by their names (app.log.1,
//     app.log-20260102, app-20260102.log, app.log.old), in the same folder. Those
//     that were compressed, moved elsewhere or deleted while steward was down
//     cannot be read; Report tells which, and how many bytes as far as known. Of a
//     file that nobody saw before that happened, nobody can tell anything.
//   - Where the followed name is a symbolic link into another folder, what was
//     rotated there before the link was first followed is not looked for.
//   - A rotated file that is put back beside, unpacked say, under a name whose log
//     was never followed or was forgotten, is read as one that was missed. So is
//     one that was there at the first look and was away for ten minutes since.
//   - A file that is deleted and made again while steward was down, with the same
//     inode and the same bytes up to the position, is taken for the old one.
//   - The last line of a file waits for its newline. After a rotation or deletion
//     it is sent as it is, once the file was quiet for two polls; what a writer
//     adds to it later becomes a line of its own.
//   - A file replaced by an edited copy of itself (another inode) is a new file.
package follow
