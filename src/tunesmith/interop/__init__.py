"""Other systems: what ran here as they know it, and what ran there, or is theirs.

mlflow_client  a client of MLflow's, at a place that may be reached
mlflow_out     runs, versions and aliases into MLflow
mlflow_model   a model version as a folder that MLflow loads
mlflow_in      runs and versions of MLflow as tracked runs
garak_in       what the probes of garak say, as files of suites
literals       plain values of Python files, which are not run
openlineage    runs as events, to a file or a server
"""
