//! Scripts: header, parameters, statements.
