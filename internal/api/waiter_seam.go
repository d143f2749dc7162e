package api

// waiter stands for replica.Waiter until that package lands.
type waiter = struct {
	Offset int64
	Done   func(error)
}
