"""Logs librdkafka in by each SASL mechanism; exits non-zero on the first surprise.

logins.py OPEN GUARDED SHORT: listeners without logins, with them, and where a session lasts four seconds.
"""
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic, ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion

bare, guarded, short = sys.argv[1:4]
admin = AdminClient({"bootstrap.servers": bare})


def config(address, mechanism, user, password):
    return {"bootstrap.servers": address, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism,
            "sasl.username": user, "sasl.password": password, "socket.timeout.ms": 10000}


def alter(*changes):
    for f in admin.alter_user_scram_credentials(list(changes)).values():
        f.result(20)


# Users come by librdkafka's admin client.
alter(UserScramCredentialUpsertion("paula", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), b"pa"))
alter(UserScramCredentialUpsertion("paula", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), b"pa"))
told = {u: f.result(20) for u, f in admin.describe_user_scram_credentials(["paula"]).items()}["paula"]
assert sorted(c.iterations for c in told.scram_credential_infos) == [4096, 8192], told

for f in admin.create_topics([NewTopic("logins", 1, 1)]).values():
    f.result(20)

sent = 0
for mechanism, user, password in (("PLAIN", "alice", "al"), ("SCRAM-SHA-256", "paula", "pa"), ("SCRAM-SHA-512", "paula", "pa")):
    failed = []
    producer = Producer(config(guarded, mechanism, user, password) | {"error_cb": failed.append})
    producer.produce("logins", mechanism.encode(), on_delivery=lambda e, m: e and failed.append(e))
    assert producer.flush(20) == 0 and not failed, (mechanism, failed)
    sent += 1

consumer = Consumer(config(guarded, "SCRAM-SHA-256", "paula", "pa") | {"group.id": "logins", "auto.offset.reset": "earliest"})
consumer.subscribe(["logins"])
seen, limit = 0, time.monotonic() + 30
while seen < sent and time.monotonic() < limit:
    m = consumer.poll(1)
    if m is not None:
        assert not m.error(), m.error()
        seen += 1
consumer.close()
assert seen == sent, seen

# Who is refused is told so, and is no other error.
for mechanism, user, password in (("PLAIN", "alice", "no"), ("SCRAM-SHA-256", "paula", "no"), ("SCRAM-SHA-256", "nobody", "x")):
    refused = threading.Event()

    def heard(e):
        if e.code() == KafkaError._AUTHENTICATION:
            refused.set()

    producer = Producer(config(guarded, mechanism, user, password) | {"error_cb": heard})
    limit = time.monotonic() + 20
    while not refused.is_set() and time.monotonic() < limit:
        producer.poll(0.1)
    assert refused.is_set(), (mechanism, user)

# A session that ends is renewed while records go on.
failed = []
producer = Producer(config(short, "SCRAM-SHA-256", "paula", "pa") | {"error_cb": failed.append})
until = time.monotonic() + 10
while time.monotonic() < until:
    producer.produce("logins", b"x", on_delivery=lambda e, m: e and failed.append(e))
    producer.poll(0.05)
assert producer.flush(20) == 0 and not failed, failed

alter(UserScramCredentialDeletion("paula", ScramMechanism.SCRAM_SHA_256))
print("librdkafka logs in by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")
