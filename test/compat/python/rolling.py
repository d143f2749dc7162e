"""What java/Rolling.java does, with librdkafka: an idempotent producer and a consumer, else at their defaults."""
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer

bootstrap, topic, protocol = sys.argv[1:]
errors, seen, last = [], {}, {}
state = {"sent": 0, "acked": 0, "slowest": 0.0, "end": False, "all_sent": False, "reordered": 0}

# That a connection is gone is told to whoever asks, and mended: it is no error of a client's.
TOLD = {KafkaError._TRANSPORT}


def surfaced(where):
    return lambda e: None if e.code() in TOLD and not e.fatal() else errors.append("%s: %s" % (where, e))


def write():
    p = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "error_cb": surfaced("producer")})

    def done(began):
        def report(err, msg):
            if err:
                errors.append("producing: %s" % err)
            else:
                state["acked"] += 1
            state["slowest"] = max(state["slowest"], time.monotonic() - began)
        return report

    while not state["end"]:
        n = state["sent"]
        p.produce(topic, value=str(n), partition=n % 6, on_delivery=done(time.monotonic()))
        state["sent"] += 1
        p.poll(0.001)
    if p.flush(60):
        errors.append("not all was sent within a minute")
    state["all_sent"] = True


def read():
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": "rolling-rd-" + protocol, "group.protocol": protocol,
                  "auto.offset.reset": "earliest", "error_cb": surfaced("consumer")})
    c.subscribe([topic])
    limit = None
    while not (state["all_sent"] and len(seen) >= state["acked"]) and (limit is None or time.monotonic() < limit):
        if state["all_sent"] and limit is None:
            limit = time.monotonic() + 60
        m = c.poll(0.1)
        if m is None:
            continue
        if m.error():
            surfaced("reading")(m.error())
            continue
        n = int(m.value())
        seen[n] = seen.get(n, 0) + 1
        if last.get(m.partition(), -1) >= n:
            state["reordered"] += 1
        last[m.partition()] = n
    c.close()


threads = [threading.Thread(target=f) for f in (read, write)]
for t in threads:
    t.start()
for line in sys.stdin:
    print("acked", state["acked"], flush=True)
state["end"] = True
for t in threads:
    t.join()
for e in errors:
    print("error", e)
print("read %d lost %d doubled %d reordered %d" % (len(seen), state["acked"] - len(seen), sum(c > 1 for c in seen.values()), state["reordered"]))
print("sent %d acked %d errors %d slowest %d ms" % (state["sent"], state["acked"], len(errors), state["slowest"] * 1000))
