"""The HTTP side: prediction endpoints, data path, management API and web page.

How a prediction request travels: ``predictions`` takes it, ``table`` knows the version,
``admission`` gives it a slot on a replica, ``relay`` streams it there over ``upstream``, with
``headers`` deciding what goes along. Whatever goes wrong is an error of ``errors``, which
``problems`` puts into a document.
"""
