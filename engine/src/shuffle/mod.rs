//! Where shuffle lives and how it is read back.
