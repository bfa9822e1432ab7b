//! Drives the statements of a run in order.
