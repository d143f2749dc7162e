"""Drives a broker with kafka-python; exits non-zero on the first surprise."""
import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

bootstrap = sys.argv[1]
topic = "kp-%d" % time.time_ns()
admin = KafkaAdminClient(bootstrap_servers=bootstrap)
admin.create_topics([NewTopic(topic, 2, 1)])

producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="gzip", linger_ms=5)
sent = [producer.send(topic, key=b"k%d" % i, value=b"v%d" % i, partition=i % 2) for i in range(2000)]
for f in sent:
    f.get(30)
producer.close()

consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=topic + "-g", auto_offset_reset="earliest",
                         enable_auto_commit=False, consumer_timeout_ms=20000)
seen = {0: [], 1: []}
for r in consumer:
    seen[r.partition].append(r.value)
    if sum(map(len, seen.values())) == 2000:
        break
for p in seen:
    assert seen[p] == [b"v%d" % i for i in range(2000) if i % 2 == p], "partition %d" % p
consumer.commit()
assert consumer.committed(TopicPartition(topic, 0)) == 1000
consumer.close()
print("kafka-python: all well")
