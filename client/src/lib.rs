//! The client library: connect, build DataFrames on the cluster's tables, submit, follow the run.
