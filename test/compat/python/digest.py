"""Reads a whole topic with librdkafka and prints one digest over every key and value."""
import hashlib
import sys

from confluent_kafka import Consumer, TopicPartition, OFFSET_BEGINNING

bootstrap, topic, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = Consumer({"bootstrap.servers": bootstrap, "group.id": "digest", "enable.auto.commit": False, "fetch.message.max.bytes": 20000000, "check.crcs": True})
c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(3)])
sums, idle, total = {}, 0, 0
while total < n and idle < 30:
    batch = c.consume(1000, 1.0)
    idle = 0 if batch else idle + 1
    for m in batch:
        assert not m.error(), m.error()
        total += 1
        sums[m.key()] = hashlib.sha256(m.value()).hexdigest()
c.close()
h = hashlib.sha256()
for k in sorted(sums):
    h.update(k + b" " + sums[k].encode() + b"\n")
print(h.hexdigest())
