//! Hosts the distributed engine behind our facade.
