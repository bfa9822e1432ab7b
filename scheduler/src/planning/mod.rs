//! From a statement to a plan.
