package msg

import (
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/wiretest"
)

// seeds adds a random message of every API and version.
func seeds(f *testing.F, make func(api API) Message) {
	rng := rand.New(rand.NewPCG(7, 8))
	for i, api := range APIs {
		for version := api.Min; version <= api.Max; version++ {
			m := make(api)
			(&wiretest.Filler{Rand: rng, Keep: 0.3}).Fill(m)
			f.Add(uint8(i), uint8(version), m.Append(nil, version))
		}
	}
}

// pick maps any two numbers to an API and a version of it.
func pick(key, version uint8) (API, int16) {
	api := APIs[int(key)%len(APIs)]
	return api, api.Min + int16(version)%(api.Max-api.Min+1)
}

// FuzzRequest decodes bytes as any request of any version.
func FuzzRequest(f *testing.F) {
	seeds(f, func(api API) Message { m, _ := NewRequest(api.Key); return m })
	f.Fuzz(func(t *testing.T, key, v uint8, frame []byte) {
		api, version := pick(key, v)
		fresh := func() wiretest.Codec { m, _ := NewRequest(api.Key); return m }
		if err := wiretest.Hostile(fresh, frame, version); err != nil {
			t.Fatalf("%sRequest v%d: %v", api.Name, version, err)
		}
	})
}

// FuzzResponse decodes bytes as any response of any version.
func FuzzResponse(f *testing.F) {
	seeds(f, func(api API) Message { m, _ := NewResponse(api.Key); return m })
	f.Fuzz(func(t *testing.T, key, v uint8, frame []byte) {
		api, version := pick(key, v)
		fresh := func() wiretest.Codec { m, _ := NewResponse(api.Key); return m }
		if err := wiretest.Hostile(fresh, frame, version); err != nil {
			t.Fatalf("%sResponse v%d: %v", api.Name, version, err)
		}
	})
}

// FuzzHeader decodes bytes as a frame: what the header says decides the rest.
func FuzzHeader(f *testing.F) {
	client := "client"
	for _, api := range APIs {
		h := RequestHeader{APIKey: api.Key, APIVersion: api.Max, CorrelationID: 1, ClientID: &client}
		m, _ := NewRequest(api.Key)
		f.Add(m.Append(h.Append(nil, RequestHeaderVersion(api.Key, api.Max)), api.Max))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		peek, ok := PeekRequestHeader(frame)
		if !ok {
			return
		}
		for version := int16(1); version <= 2; version++ {
			fresh := func() wiretest.Codec { return &anyHeader{} }
			if err := wiretest.Hostile(fresh, frame, version); err != nil {
				t.Fatal(err)
			}
		}
		r := wire.NewReader(frame)
		var h RequestHeader
		h.Decode(r, RequestHeaderVersion(peek.APIKey, peek.APIVersion))
		if h.ClientID = nil; !r.Failed() && h != peek {
			t.Fatalf("%+v at first sight, %+v at the second", peek, h)
		}
		if m, ok := NewRequest(peek.APIKey); ok {
			m.Decode(r, peek.APIVersion)
		}
	})
}

// anyHeader is a RequestHeader as a codec.
type anyHeader struct{ RequestHeader }

func (h *anyHeader) Decode(r *wire.Reader, version int16) {
	h.RequestHeader.Decode(r, version)
	r.Skip(r.Remaining())
}

// FuzzPieces compares a Produce request read in pieces with one read whole.
func FuzzPieces(f *testing.F) {
	for version := range uint8(11) {
		f.Add(version, produceFrame(3+int16(version)))
	}
	f.Fuzz(func(t *testing.T, v uint8, frame []byte) {
		version := 3 + int16(v)%11
		var w produceWalk
		var got []ProduceRequestTopicDataPartitionData
		r := wire.NewReader(frame)
		inPieces := w.run(r, version, func() { got = append(got, w.p) })
		if r.Steps() > 2*len(frame) {
			t.Fatalf("%d steps for %d bytes", r.Steps(), len(frame))
		}
		r.Reset(frame)
		var m ProduceRequest
		m.Decode(r, version)
		whole := r.Done()
		if whole != nil {
			return // the budget may end earlier
		}
		if inPieces != nil {
			t.Fatal(inPieces)
		}
		n := 0
		for _, topic := range m.TopicData {
			for _, p := range topic.PartitionData {
				if p.Index != got[n].Index || string(p.Records) != string(got[n].Records) {
					t.Fatalf("%+v and %+v", p, got[n])
				}
				n++
			}
		}
		if n != len(got) || w.m.Acks != m.Acks || w.m.TimeoutMs != m.TimeoutMs {
			t.Fatalf("%d partitions in pieces, %d whole; %+v and %+v", len(got), n, w.m, m)
		}
	})
}
