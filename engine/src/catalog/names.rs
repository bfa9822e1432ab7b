//! Names of tables and views.

use std::fmt;
use std::str::FromStr;

use datafusion::common::TableReference;
use selvedge_model::Failure;
use serde::{Deserialize, Serialize};

use crate::session::{CATALOG_NAME, DEFAULT_SCHEMA};

/// The name of a table or view. Unquoted parts are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// The schema it is in.
    pub schema: String,
    /// Its name there.
    pub table: String,
}

impl TableName {
    /// A name from parts that are already in their right case.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }

    /// As DataFusion refers to it.
    pub fn reference(&self) -> TableReference {
        TableReference::full(CATALOG_NAME, self.schema.as_str(), self.table.as_str())
    }
}

impl TryFrom<TableReference> for TableName {
    type Error = Failure;

    fn try_from(reference: TableReference) -> Result<Self, Failure> {
        if reference.catalog().is_some_and(|c| c != CATALOG_NAME) {
            let cause = format!("{reference}: there is only one catalog, {CATALOG_NAME}");
            return Err(Failure::user("CATALOG_NOT_FOUND", cause).with_hint("Write schema.table"));
        }
        let name = Self::new(reference.schema().unwrap_or(DEFAULT_SCHEMA), reference.table());
        if name.schema.is_empty() || name.table.is_empty() {
            return Err(Failure::user("INVALID_NAME", format!("{reference} is not a table's name")));
        }
        Ok(name)
    }
}

impl FromStr for TableName {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let reference = TableReference::parse_str(text.trim());
        // What cannot be taken apart comes back whole.
        if reference.schema().is_none() && text.contains('.') && !text.contains('"') {
            return Err(Failure::user("INVALID_NAME", format!("{text} is not a table's name"))
                .with_hint("Write table or schema.table"));
        }
        Self::try_from(reference)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

/// Quoted when it must be to be read back as the same name.
fn quoted(part: &str) -> String {
    let plain = part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { part.to_owned() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_unless_quoted() {
        let rows = [
            ("orders", "public", "orders", "public.orders"),
            ("Sales.Orders", "sales", "orders", "sales.orders"),
            ("sales.\"Orders\"", "sales", "Orders", "sales.\"Orders\""),
            ("selvedge.sales.orders", "sales", "orders", "sales.orders"),
        ];
        for (text, schema, table, shown) in rows {
            let got: TableName = text.parse().unwrap();
            assert_eq!((got.schema.as_str(), got.table.as_str()), (schema, table), "{text}");
            assert_eq!(got.to_string(), shown);
            assert_eq!(shown.parse::<TableName>().unwrap(), got);
        }
        for text in ["", "a.b.c", "a.b.c.d"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }
}
