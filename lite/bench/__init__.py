"""`lite bench`: throughput, latency, a server under load, and where a step's time goes."""
