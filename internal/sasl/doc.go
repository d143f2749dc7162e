// Package sasl plays the broker's side of SASL: it finds out who a client is, by
// PLAIN (RFC 4616) or by SCRAM (RFC 5802, RFC 7677).
//
// # Words
//
//	mechanism   how a client proves who it is: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
//	token       what one side sends the other, opaque to the protocol around it
//	exchange    one authentication under way: tokens in, tokens out, then a user
//	credential  what the broker keeps of a SCRAM user: it can check the password
//	            with it, and cannot log in with it
//
// # The exchanges
//
//	PLAIN   ->  [authzid] NUL user NUL password
//	        <-  (empty)
//	SCRAM   ->  n,[a=authzid],n=user,r=NONCE
//	        <-  r=NONCEnonce,s=salt,i=iterations
//	        ->  c=biws,r=NONCEnonce,p=proof
//	        <-  v=signature
//
// # What a stranger learns
//
// Nothing of who exists. Secrets are compared in constant time, and a user that
// there is not goes the same way as one whose password is wrong: PLAIN compares
// with a password that nobody has, SCRAM challenges with a salt that is made of
// the name (the same at each try and on each broker, see [Decoy]) and fails with
// the proof. Only the number of iterations can tell, where users have another
// than [MinIterations].
//
// Everything here is pure: chance comes in.
package sasl
