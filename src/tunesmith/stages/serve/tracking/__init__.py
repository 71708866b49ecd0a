"""The part of MLflow's REST API that training code calls, over our own store.

    wire       what comes in a request, checked; records as MLflow's JSON
    names      which names, paths and locations are taken
    where      a `filter` and an `order_by` as conditions and orders
    runs       experiments, runs, metrics        models     logged and registered models
    artifacts  files: up, down, listed           app        all of it as one application

Every name and path that a client sends is a key of a table; the server alone chooses locations.
"""
