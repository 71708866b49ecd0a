"""Other systems: what ran here as they know it, and what ran there.

mlflow_client  a client of MLflow's, at a place that may be reached
mlflow_out     runs, versions and aliases into MLflow
mlflow_model   a model version as a folder that MLflow loads
mlflow_in      runs and versions of MLflow as tracked runs
openlineage    runs as events, to a file or a server
"""
