//! What goes wrong in the scheduler, and what kind of failure it is.
