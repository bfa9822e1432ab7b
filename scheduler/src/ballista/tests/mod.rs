//! The guards, each against a real host.
