//! What goes wrong in the engine, and what kind of failure it is.
