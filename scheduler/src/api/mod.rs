//! The gRPC services clients call: one RPC, one file.
