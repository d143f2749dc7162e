"""librdkafka's loop of consume, process, produce: each record of eos-in is read,
doubled and written to eos-out, with its offset, in transactions.

usage: eos.py BOOTSTRAP RECORDS

It may be killed at any time and started again. It prints a line for each
transaction that it committed, and ends when RECORDS were committed by its group.
"""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

bootstrap, total = sys.argv[1], int(sys.argv[2])
PARTITIONS = 3

consumer = Consumer({
    "metadata.recovery.strategy": "none",
    "bootstrap.servers": bootstrap, "group.id": "eos", "enable.auto.commit": False,
    "auto.offset.reset": "earliest", "isolation.level": "read_committed",
    "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
})
# With one broker, the default (rebootstrap) forgets it together with requests that wait for it,
# and a transaction then stands still until its time-out.
producer = Producer({
    "metadata.recovery.strategy": "none",
    "bootstrap.servers": bootstrap, "transactional.id": "eos", "transaction.timeout.ms": 10000, "linger.ms": 1,
})


def retried(what, *args):
    """A call on the transaction, again as long as librdkafka says that it may be."""
    limit = time.monotonic() + 60
    while True:
        try:
            return what(*args)
        except KafkaException as e:
            if not e.args[0].retriable() or time.monotonic() > limit:
                raise


def committed():
    offsets = consumer.committed([TopicPartition("eos-in", p) for p in range(PARTITIONS)], timeout=30)
    return sum(max(o.offset, 0) for o in offsets)


retried(producer.init_transactions, 60)
consumer.subscribe(["eos-in"])
done = retried(committed)
print("begins at", done, flush=True)
limit = time.monotonic() + 100
while done < total:
    if time.monotonic() > limit:
        sys.exit(f"{done} of {total} after 100 s")
    batch = [m for m in consumer.consume(num_messages=200, timeout=0.5) if not m.error()]
    if not batch:
        done = retried(committed)
        continue
    producer.begin_transaction()
    try:
        for m in batch:
            producer.produce("eos-out", value=str(2 * int(m.value())), partition=m.partition())
        retried(producer.send_offsets_to_transaction, consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 60)
        retried(producer.commit_transaction, 60)
        done += len(batch)
        print("committed", done, flush=True)
    except KafkaException as e:
        if not e.args[0].txn_requires_abort():
            raise
        retried(producer.abort_transaction, 60)
        assigned = consumer.committed(consumer.assignment(), timeout=30)
        for tp in assigned:
            consumer.seek(TopicPartition(tp.topic, tp.partition, max(tp.offset, 0)))
        print("aborted", e, flush=True)
print("done", flush=True)
