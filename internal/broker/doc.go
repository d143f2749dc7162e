// Package broker builds the parts of one node, runs them and drains them. It is
// the only package that knows everything.
//
// Open makes whole things, in the order in which each needs the one before:
//
//	directories   lock, format if asked, one commitlog.Home each
//	listeners     bound, so that a port of 0 has become a number
//	metadata      the image, and who may change it
//	replicas      the partitions that the image gives this broker
//	groups        the coordinators of the partitions that it leads
//	table         what answers requests, from the parts above
//	server        the sockets
//
// Run starts their activities in that order, and drains by ending them in the
// reverse order: first nobody new is heard, then what was asked is answered,
// then logs are flushed and closed, and the mark of a clean end is left last.
//
// Nothing here decides anything about a record or a topic; what looks like a
// decision belongs in the package that owns it.
package broker
