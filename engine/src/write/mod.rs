//! Writing table files, and making them visible.
