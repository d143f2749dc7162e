package segment

import (
	"container/list"
	"sync"
)

// Cache bounds how many bytes the indexes of closed segments, and the sums of all,
// take in memory:
// those used longest ago are dropped, and read again when they are needed.
type Cache struct {
	limit int

	mu struct {
		sync.Mutex // memory only
		order      *list.List
		held       map[evictable]*list.Element // of cached
		bytes      int
	}

	buffers sync.Pool // of *[blockBytes]byte
}

// evictable is what the cache may tell to let go of memory: the indexes of a
// segment, or its sums.
type evictable interface{ drop() }

type cached struct {
	s     evictable
	bytes int
}

// NewCache makes a cache of limit bytes.
func NewCache(limit int) *Cache {
	c := &Cache{limit: limit}
	c.mu.order = list.New()
	c.mu.held = map[evictable]*list.Element{}
	c.buffers.New = func() any { return new([blockBytes]byte) }
	return c
}

// Bytes tells how much it holds.
func (c *Cache) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.bytes
}

// buffer takes one out of the pool.
func (c *Cache) buffer() *[blockBytes]byte { return c.buffers.Get().(*[blockBytes]byte) }

func (c *Cache) add(s evictable, bytes int) {
	c.mu.Lock()
	if e := c.mu.held[s]; e != nil {
		c.removeLocked(e)
	}
	c.mu.held[s] = c.mu.order.PushBack(cached{s, bytes})
	c.mu.bytes += bytes
	var victims []evictable
	for c.mu.bytes > c.limit && c.mu.order.Len() > 1 {
		victims = append(victims, c.removeLocked(c.mu.order.Front()))
	}
	c.mu.Unlock()
	for _, v := range victims {
		v.drop()
	}
}

func (c *Cache) touch(s evictable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.mu.held[s]; e != nil {
		c.mu.order.MoveToBack(e)
	}
}

func (c *Cache) forget(s evictable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.mu.held[s]; e != nil {
		c.removeLocked(e)
	}
}

func (c *Cache) removeLocked(e *list.Element) evictable {
	v := c.mu.order.Remove(e).(cached)
	delete(c.mu.held, v.s)
	c.mu.bytes -= v.bytes
	return v.s
}
