"""A Kafka that forgets everything when it ends: librdkafka's mock cluster. Prints its address, and then what arrives in topic `logs`."""

import confluent_kafka

keeper = confluent_kafka.Producer({"test.mock.num.brokers": 1})
broker = next(iter(keeper.list_topics(timeout=30).brokers.values()))
print(f"{broker.host}:{broker.port}", flush=True)
consumer = confluent_kafka.Consumer(
    {"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "test", "auto.offset.reset": "earliest", "allow.auto.create.topics": True}
)
consumer.subscribe(["logs"])
while True:
    message = consumer.poll(1)
    if message is not None and message.error() is None:
        print(message.value().decode(), flush=True)
