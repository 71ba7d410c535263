"""What the request path costs: ``python -m bench``, explained in docs/performance.md.

To read it in the order in which it works: ``__main__`` (options, order, clean end), ``measures``
(what is measured), ``subjects`` (what is measured side by side), ``processes`` (starting, pinning
and watching them), ``load`` and ``streams`` (the clients), ``report`` (tables, pictures, page).
"""
