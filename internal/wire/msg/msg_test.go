package msg

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/wiretest"
)

func TestAPIs(t *testing.T) {
	last := int16(-1)
	for _, api := range APIs {
		if api.Key <= last {
			t.Errorf("key %d after %d", api.Key, last)
		}
		last = api.Key
		if got, ok := APIByKey(api.Key); !ok || got != api || kafka.KeyName(api.Key) != api.Name {
			t.Errorf("key %d is %+v and %q", api.Key, got, kafka.KeyName(api.Key))
		}
		request, _ := NewRequest(api.Key)
		response, _ := NewResponse(api.Key)
		for _, m := range []Message{request, response} {
			first, last := m.Versions()
			if m.Key() != api.Key || first != api.Min || last != api.Max {
				t.Errorf("%T: key %d, versions %d to %d; want %+v", m, m.Key(), first, last, api)
			}
			for v := first; v <= last; v++ {
				if m.IsFlexible(v) != (api.Flexible >= 0 && v >= api.Flexible) {
					t.Errorf("%T v%d: flexible %t; want %+v", m, v, m.IsFlexible(v), api)
				}
			}
		}
	}
	for _, key := range []int16{-1, 4, 5, 6, 7, 95, 32767} { // 4 to 7 went with ZooKeeper
		_, known := APIByKey(key)
		_, request := NewRequest(key)
		_, response := NewResponse(key)
		if known || request || response || kafka.KeyName(key) != "" {
			t.Errorf("key %d exists", key)
		}
	}
}

func TestHeaders(t *testing.T) {
	client := "c"
	for _, c := range []struct {
		key, version, request, response int16
	}{
		{kafka.KeyProduce, 8, 1, 0},
		{kafka.KeyProduce, 9, 2, 1},
		{kafka.KeyAPIVersions, 2, 1, 0},
		{kafka.KeyAPIVersions, 4, 2, 0}, // the response's header is never flexible
		{kafka.KeyAPIVersions, 99, 2, 0},
		{kafka.KeySASLHandshake, 1, 1, 0},
		{kafka.KeyOffsetDelete, 0, 1, 0},
		{kafka.KeyDescribeCluster, 0, 2, 1},
		{-5, 3, 1, 0},
	} {
		request, response := RequestHeaderVersion(c.key, c.version), ResponseHeaderVersion(c.key, c.version)
		if request != c.request || response != c.response {
			t.Errorf("key %d v%d: headers %d and %d, want %d and %d", c.key, c.version, request, response, c.request, c.response)
		}
		h := RequestHeader{APIKey: c.key, APIVersion: c.version, CorrelationID: 77, ClientID: &client}
		b := h.Append(nil, request)
		if want := 11 + int(request-1); len(b) != want { // the client id is never compact
			t.Errorf("a header of %d bytes, want %d", len(b), want)
		}
		peek, ok := PeekRequestHeader(b)
		if !ok || peek.APIKey != c.key || peek.APIVersion != c.version || peek.CorrelationID != 77 {
			t.Errorf("%+v, %t", peek, ok)
		}
	}
	if _, ok := PeekRequestHeader(make([]byte, 7)); ok {
		t.Error("seven bytes are a header")
	}
}

func TestUnknownVersion(t *testing.T) {
	for _, version := range []int16{-1, 2, 14, 32767} {
		r := wire.NewReader(make([]byte, 100))
		m := NewProduceRequest()
		if m.Decode(r, version); !errors.Is(r.Err(), wire.ErrInvalid) {
			t.Errorf("v%d: %v", version, r.Err())
		}
	}
}

// Null and empty are not the same, and a version without null has empty.
func TestNull(t *testing.T) {
	m := NewMetadataRequest()
	for _, c := range []struct {
		version int16
		topics  []MetadataRequestTopic
		isNull  bool
	}{{0, nil, false}, {1, nil, true}, {1, []MetadataRequestTopic{}, false}, {12, nil, true}, {12, []MetadataRequestTopic{}, false}} {
		m.Topics = c.topics
		back := MetadataRequest{Topics: make([]MetadataRequestTopic, 3)}
		r := wire.NewReader(m.Append(nil, c.version))
		back.Decode(r, c.version)
		if r.Done() != nil || (back.Topics == nil) != c.isNull || len(back.Topics) != 0 {
			t.Errorf("v%d: %#v became %#v, %v", c.version, c.topics, back.Topics, r.Err())
		}
	}
}

// A frame that claims a thousand times what it holds costs next to nothing.
func TestBombs(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, api := range APIs {
		for version := api.Min; version <= api.Max; version++ {
			for _, fresh := range []func() wiretest.Codec{
				func() wiretest.Codec { m, _ := NewRequest(api.Key); return m },
				func() wiretest.Codec { m, _ := NewResponse(api.Key); return m },
			} {
				m := fresh()
				(&wiretest.Filler{Rand: rng}).Fill(m)
				frame := m.Append(nil, version)
				for range 3 {
					bomb := bytes.Clone(frame)
					if len(bomb) > 0 { // some four bytes become a huge count
						copy(bomb[rng.IntN(len(bomb)):], []byte{0x7f, 0xff, 0xff, 0x7f})
					}
					if err := wiretest.Hostile(fresh, bomb, version); err != nil {
						t.Errorf("%s v%d: %v", api.Name, version, err)
					}
				}
				if err := wiretest.Hostile(fresh, make([]byte, 4096), version); err != nil {
					t.Errorf("%s v%d of zeros: %v", api.Name, version, err)
				}
				if err := wiretest.Hostile(fresh, bytes.Repeat([]byte{1}, 4096), version); err != nil {
					t.Errorf("%s v%d of ones: %v", api.Name, version, err)
				}
			}
		}
	}
}

// Messages of ordinary content, large ones too, fit into the heap budget.
func TestBudgetIsAmple(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	worst, of := 0.0, ""
	for _, api := range APIs {
		for version := api.Min; version <= api.Max; version++ {
			request, _ := NewRequest(api.Key)
			response, _ := NewResponse(api.Key)
			for _, m := range []Message{request, response} {
				(&wiretest.Filler{Rand: rng, Most: 20}).Fill(m)
				frame := m.Append(nil, version)
				r := wire.NewReader(frame)
				m.SetDefaults()
				if m.Decode(r, version); r.Done() != nil {
					t.Errorf("%T v%d, %d bytes: %v", m, version, len(frame), r.Err())
				}
				if ratio := float64(r.Charged()) / float64(len(frame)); len(frame) > 2000 && ratio > worst {
					worst, of = ratio, api.Name
				}
			}
		}
	}
	t.Logf("at most %.1f bytes of heap for a byte of frame (%s), of %d allowed", worst, of, wire.HeapPerByte)
}
