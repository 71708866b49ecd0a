"""Other systems: what ran here as they know it, and what ran there.

mlflow_client  a client of MLflow's, at a place that may be reached
mlflow_out     runs, versions and aliases into MLflow     mlflow_model  a model as MLflow loads it
mlflow_in      runs of MLflow as tracked runs
"""
