// Package commitlog keeps one partition's log on disk: an ordered run of
// segments of which only the last is written.
//
// The words. An offset counts records; a position counts bytes in a segment's
// file. Four offsets are the log's own:
//
//	start ≤ flushed ≤ end        what Read may give: [start, end)
//	recovery point ≤ flushed     what a restart may trust without looking
//
// The high watermark lies between and is not known here: package replica passes
// it in wherever it counts.
//
// A batch is *written* when Append returns: it is in the page cache and readable
// up to End. It is *flushed* when Flush has returned nil after it, and only then
// may it be called durable. Flush makes three things durable in this order: the
// topic id, the names of new files, the data.
//
// Who may do what at once: one caller appends or truncates (whoever holds the
// replica's turn); one flusher flushes; any number read, and readers never wait
// for either. An I/O error of Append or Flush is final: the log refuses to
// write until it is opened again, and what it had promised stays true. One error
// is not: an Append that finds the disk full leaves nothing behind, and may be
// tried again.
//
// The files and their layouts are drawn in docs/format. All but the data file
// and partition.metadata are caches, and made anew when they are missing or
// wrong.
package commitlog
