"""A broker for partyd: rules, keys and configuration for mosquitto, and an embedded default on amqtt.

The broker carries sealed frames between organisations and holds no truth: it may lose, repeat, delay or reorder what it
carries, and the daemons notice and mend that end to end. What it must do is keep parties in their own mailboxes
(`broker.rules`), whichever program serves: mosquitto (`broker.mosquitto`) or amqtt in this process (`broker.embedded`).

This package imports nothing of partyd, and partyd nothing of it.
"""
