//! Object stores and locations in them.
