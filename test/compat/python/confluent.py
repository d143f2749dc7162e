"""Drives a broker with librdkafka's Python client; exits non-zero on the first surprise."""
import os
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition, OFFSET_BEGINNING
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

bootstrap = sys.argv[1]
admin = AdminClient({"bootstrap.servers": bootstrap})
topic = "py-%d" % time.time_ns()


def wait(futures):
    return {k: f.result(20) for k, f in futures.items()}


def expect_error(code, futures):
    for f in futures.values():
        try:
            f.result(20)
        except KafkaException as e:
            assert e.args[0].code() == code, e
        else:
            raise AssertionError("expected %s" % code)


# Topics: create, refuse twice, grow, describe, configure.
wait(admin.create_topics([NewTopic(topic, 3, 1, config={"retention.ms": "3600000"})]))
expect_error(KafkaError.TOPIC_ALREADY_EXISTS, admin.create_topics([NewTopic(topic, 1, 1)]))
expect_error(KafkaError.INVALID_PARTITIONS, admin.create_topics([NewTopic(topic + "-bad", 0, 1)]))
wait(admin.create_partitions([NewPartitions(topic, 4)]))
meta = admin.list_topics(topic, timeout=20)
assert len(meta.topics[topic].partitions) == 4, meta.topics[topic].partitions

res = ConfigResource(ResourceType.TOPIC, topic)
configs = wait(admin.describe_configs([res]))[res]
assert configs["retention.ms"].value == "3600000" and not configs["retention.ms"].is_default
assert configs["cleanup.policy"].value == "delete"
entry = ConfigEntry("max.message.bytes", "50000", incremental_operation=AlterConfigOpType.SET)
wait(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))
assert wait(admin.describe_configs([res]))[res]["max.message.bytes"].value == "50000"

# An idempotent producer, every codec, then everything read back in order.
n = 2000
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec, "linger.ms": 2})
    failed = []
    for i in range(n):
        producer.produce(topic, value=b"%s-%d" % (codec.encode(), i), key=b"k%d" % (i % 7), partition=i % 4,
                         headers=[("codec", codec.encode())],
                         on_delivery=lambda err, msg: failed.append(err) if err else None)
    assert producer.flush(30) == 0 and not failed, failed

too_big = []
producer.produce(topic, value=os.urandom(200000), on_delivery=lambda err, msg: too_big.append(err))
producer.flush(30)
assert too_big[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, too_big

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic + "-g", "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.subscribe([topic])
seen, deadline = {p: [] for p in range(4)}, time.time() + 60
while sum(map(len, seen.values())) < 5 * n and time.time() < deadline:
    for m in consumer.consume(500, 1.0):
        assert not m.error(), m.error()
        seen[m.partition()].append((m.offset(), m.value()))
for p, records in seen.items():
    assert [o for o, _ in records] == list(range(len(records))), "partition %d out of order" % p
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        mine = [v for _, v in records if v.startswith(codec.encode() + b"-")]
        assert mine == [b"%s-%d" % (codec.encode(), i) for i in range(n) if i % 4 == p]
offsets = [TopicPartition(topic, p, len(r), metadata="note %d" % p) for p, r in seen.items()]
consumer.commit(offsets=offsets, asynchronous=False)
back = consumer.committed([TopicPartition(topic, p) for p in range(4)], timeout=20)
assert [(o.offset, o.metadata) for o in back] == [(o.offset, o.metadata) for o in offsets], back
low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
assert (low, high) == (0, len(seen[0])), (low, high)
consumer.close()

# Offsets by time, deletion of records, groups, topic deletion.
tp = TopicPartition(topic, 0)
assert wait(admin.list_offsets({tp: OffsetSpec.latest()}))[tp].offset == len(seen[0])
assert wait(admin.list_offsets({tp: OffsetSpec.for_timestamp(0)}))[tp].offset == 0
wait(admin.delete_records([TopicPartition(topic, 0, 100)]))
assert wait(admin.list_offsets({tp: OffsetSpec.earliest()}))[tp].offset == 100
groups = [g.group_id for g in admin.list_consumer_groups().result(20).valid]
assert topic + "-g" in groups, groups
described = wait(admin.describe_consumer_groups([topic + "-g"]))[topic + "-g"]
assert described.state.name == "EMPTY", described.state
wait(admin.delete_consumer_groups([topic + "-g"]))
wait(admin.delete_topics([topic]))
expect_error(KafkaError.UNKNOWN_TOPIC_OR_PART, admin.delete_topics([topic]))
print("confluent-kafka: all well")
