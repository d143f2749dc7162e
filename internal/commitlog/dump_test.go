package commitlog

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/record"
)

func TestDump(t *testing.T) {
	r := newRig(t, Tunables{IndexInterval: 50})
	r.must(r.produce(batchSpec{n: 2, ts: 1000, epoch: 4, producer: &record.Producer{ID: 7}, flags: record.Transactional}))
	b := record.EndTxnMarker(record.Producer{ID: 7}, record.Abort, 9, 1005)
	record.Stamp(b, 2, 4)
	h, err := record.Check(b)
	r.must(err)
	r.must(r.log.Append([]Batch{{Bytes: b, Header: h}}))
	r.stop()
	dump := func(name string) (string, error) {
		var out []string
		err := Dump(r.disk, "/data/t-3/"+name, true, func(l DumpLine) error {
			text := l.Kind
			for _, f := range l.Fields {
				if v, ok := f.Value.([]byte); ok && l.Kind == "record" {
					f.Value = fmt.Sprintf("%q", v)
				}
				text += fmt.Sprintf(" %s=%v", f.Name, f.Value)
			}
			out = append(out, text)
			return nil
		})
		return strings.Join(out, "\n"), err
	}
	for name, want := range map[string]string{
		"00000000000000000000.log": `batch baseOffset=0 lastOffset=1 count=2 baseSequence=0 lastSequence=1 producerId=7 producerEpoch=0 ` +
			`partitionLeaderEpoch=4 isTransactional=true isControl=false position=0 maxTimestamp=1001 size=79 magic=2 compresscodec=none crc=CRC isvalid=true
record offset=0 timestamp=1000 key=<nil> value="v0"
record offset=1 timestamp=1001 key=<nil> value="v1"
batch baseOffset=2 lastOffset=2 count=1 baseSequence=-1 lastSequence=-1 producerId=7 producerEpoch=0 ` +
			`partitionLeaderEpoch=4 isTransactional=true isControl=true position=79 maxTimestamp=1005 size=78 magic=2 compresscodec=none crc=CRC isvalid=true
record offset=2 timestamp=1005 endTxnMarker=ABORT coordinatorEpoch=9 key="\x00\x00\x00\x00" value="\x00\x00\x00\x00\x00\t"`,
		"00000000000000000000.index":     "offset offset=2 position=79",
		"00000000000000000000.timeindex": "time timestamp=1005 offset=2",
		"00000000000000000000.txnindex":  "aborted producerId=7 firstOffset=0 lastOffset=2 lastStableOffset=3",
		"00000000000000000003.snapshot": "producer producerId=7 producerEpoch=0 lastSequence=1 lastTimestamp=1005 " +
			"coordinatorEpoch=9 currentTxnFirstOffset=-1",
		"leader-epoch-checkpoint": "epoch leaderEpoch=4 startOffset=0",
	} {
		got, err := dump(name)
		words := strings.Fields(got)
		for i, w := range words {
			if strings.HasPrefix(w, "crc=") {
				got = strings.Replace(got, words[i], "crc=CRC", 1)
			}
		}
		if err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, want)
		}
	}
	if _, err := dump("notes.txt"); !errors.Is(err, ErrUnknownFile) {
		t.Error(err)
	}
	d := &damager{r}
	d.flip(0, 75)
	if got, err := dump("00000000000000000000.log"); err != nil || !strings.Contains(got, "isvalid=false") {
		t.Error(got, err)
	}
	d.shorten(0, 5)
	if _, err := dump("00000000000000000000.log"); !errors.Is(err, errTorn) {
		t.Error(err)
	}
}
