"""Several router processes: the parent decides and tells, the workers carry requests.

The parent keeps the controller, the registry, the backends and the management API. To read the
rest in the order in which it works: ``crew`` starts worker processes and replaces those that end,
``broadcast`` is the route table that the controller writes to and passes every change on, in the
words of ``messages``; ``worker`` is a worker's whole life; ``accept`` takes its share of the
connections, ``counts`` tells it how busy the others keep each replica, and ``rest`` passes on to
the parent what is no prediction.
"""
