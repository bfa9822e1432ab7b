//! The runs this scheduler knows.
