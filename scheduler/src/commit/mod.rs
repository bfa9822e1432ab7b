//! Makes accepted writes visible, or discards them.
