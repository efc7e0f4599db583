"""Training at each worker's own pace: leased batches, weights in servers, batches in a queue. Knows no Ray.

Everything that workers share is an object that several threads may call, each call of plain values and arrays: in one
process it is called as it is, in a cluster it is an actor (`exporter/training/asynchronous/`).
"""
