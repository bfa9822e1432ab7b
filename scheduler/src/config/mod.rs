//! Configuration: as typed, then resolved.
