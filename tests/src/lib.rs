//! Test harness: a real S3 server, real processes, faults.
