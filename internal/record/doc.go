// Package record reads and writes record batches of format v2.
//
// A batch is the unit of everything. A producer builds one, the leader checks
// and appends it whole, followers copy it, a consumer opens it. The broker
// never decompresses a batch it has only to carry.
//
//	offset size  field
//	     0    8  base offset             * set by the leader
//	     8    4  length of what follows
//	    12    4  partition leader epoch  * set by the leader
//	    16    1  magic, always 2
//	    17    4  CRC-32C of bytes 21 to the end
//	    21    2  attributes, see [Attributes]
//	    23    4  offset of the last record, less the base offset
//	    27    8  timestamp to which records add theirs, ms
//	    35    8  largest timestamp of a record, ms
//	    43    8  producer id             -1: not idempotent
//	    51    2  producer epoch          -1
//	    53    4  sequence of the first   -1
//	    57    4  number of records
//	    61    …  records, perhaps compressed as one stream
//
// The two starred fields lie before the CRC on purpose: see [Stamp].
//
// A record is a run of varints (zigzag) and bytes; a null key or value has
// length -1:
//
//	length, attributes (1 byte, 0), timestamp delta, offset delta,
//	key length, key, value length, value,
//	header count, then for each: key length, key, value length, value
//
// The words used here: to check a batch is to look at its header and CRC; to
// open it is to read its records, which may mean to decompress. Checking costs
// one pass over the bytes and allocates nothing. Opening is bounded by a [Pool]:
// in how many batches are open at once and in how far each may expand.
package record
