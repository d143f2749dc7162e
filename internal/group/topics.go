package group

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// TopicsOf turns the cluster's image into what groups see of it. The picture is
// made once for each image, so that what it finds out is found out once.
func TopicsOf(image func() *cluster.Image) func() kind.Topics {
	var last atomic.Pointer[picture]
	return func() kind.Topics {
		img := image()
		p := last.Load()
		if p == nil || p.image != img {
			p = newPicture(img)
			last.Store(p)
		}
		return p
	}
}

// picture is an image as groups see it.
type picture struct {
	image *cluster.Image
	names func() []string
}

func newPicture(img *cluster.Image) *picture {
	return &picture{img, sync.OnceValue(func() []string {
		names := make([]string, 0, img.TopicCount())
		for t := range img.TopicsFrom("") {
			names = append(names, t.Name)
		}
		return names
	})}
}

// Version is the image's place in the metadata log.
func (p *picture) Version() int64 { return p.image.Index() }

func (p *picture) Named(name string) (kind.Topic, bool) { return p.topic(p.image.Topic(name)) }

func (p *picture) ByID(id kafka.UUID) (kind.Topic, bool) { return p.topic(p.image.TopicByID(id)) }

func (p *picture) Names() []string { return slices.Clip(p.names()) }

func (p *picture) topic(t *cluster.Topic) (kind.Topic, bool) {
	if t == nil {
		return kind.Topic{}, false
	}
	return kind.Topic{
		Name: t.Name, ID: t.ID, Partitions: int32(len(t.Partitions)), Internal: t.Internal,
		Racks: func(partition int32) []string { return p.racks(t.Partition(partition)) },
	}, true
}

// racks are those of a partition's replicas that have one, in their order.
func (p *picture) racks(part *cluster.Partition) []string {
	if part == nil {
		return nil
	}
	var racks []string
	for _, id := range part.Replicas {
		if b := p.image.Broker(id); b != nil && b.Rack != nil {
			racks = append(racks, *b.Rack)
		}
	}
	return racks
}
