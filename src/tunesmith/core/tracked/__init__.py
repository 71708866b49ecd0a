"""Runs and models of other programs, as MLflow's clients send them: kept beside our own, and never
among them. No step reads them, nothing of them is evidence, and the ledger does not count them.

    write   what an insert that may find its row there does, and the database's time
    runs    experiments, runs, their parameters, tags, metrics and inputs
    find    runs by conditions, page by page
    files   artefacts: a path of a run or model, and the digest of its bytes
    models  models that were logged, registered ones, their versions and aliases

Functions take the caller's transaction.
"""
