//! What the catalog's tables expect of writes.

use selvedge_model::Failure;
use selvedge_model::expectation::Expectation;

use super::TableName;
use super::schemas::{Catalog, Entry, SchemaEntry};
use crate::error::or_list;

impl Catalog {
    /// What a table expects, by name.
    pub fn expectations(&self, table: &TableName) -> Vec<Expectation> {
        let schemas = self.schemas.read();
        let schema = schemas.get(&table.schema);
        schema.and_then(|s| s.expectations.get(&table.table).cloned()).unwrap_or_default()
    }

    /// The tables that expect something, by name.
    pub fn expecting(&self) -> Vec<TableName> {
        let schemas = self.schemas.read();
        let tables = |(schema, s): (&String, &SchemaEntry)| {
            let expecting = s.expectations.iter().filter(|(_, all)| !all.is_empty());
            expecting.map(|(table, _)| TableName::new(schema.as_str(), table.as_str())).collect::<Vec<_>>()
        };
        schemas.iter().flat_map(tables).collect()
    }

    /// Makes a table expect something, in the place of what it expects by that name; `false` when it does so already.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND`; `NOT_A_TABLE` for a view.
    pub fn put_expectation(&self, table: &TableName, expectation: Expectation) -> Result<bool, Failure> {
        match self.entry(&table.schema, &table.table) {
            Some(Entry::Table(_)) => {}
            Some(Entry::View(_)) => {
                return Err(Failure::user(
                    "NOT_A_TABLE",
                    format!("{table} is a view, and nothing is written to a view"),
                ));
            }
            None => return Err(self.table_not_found(table)),
        }
        let mut schemas = self.schemas.write();
        let Some(schema) = schemas.get_mut(&table.schema) else { return Ok(false) };
        let all = schema.expectations.entry(table.table.clone()).or_default();
        match all.binary_search_by(|known| known.name.cmp(&expectation.name)) {
            Ok(at) if all[at] == expectation => return Ok(false),
            Ok(at) => all[at] = expectation,
            Err(at) => all.insert(at, expectation),
        }
        Ok(true)
    }

    /// Makes a table no longer expect something; `false` when it did not and `if_exists`.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND`; `EXPECTATION_NOT_FOUND` unless `if_exists`.
    pub fn drop_expectation(&self, table: &TableName, name: &str, if_exists: bool) -> Result<bool, Failure> {
        if self.table(table).is_none() {
            return if if_exists { Ok(false) } else { Err(self.table_not_found(table)) };
        }
        let mut schemas = self.schemas.write();
        let all = schemas.get_mut(&table.schema).and_then(|schema| schema.expectations.get_mut(&table.table));
        let found = all.as_ref().and_then(|all| all.iter().position(|known| known.name == name));
        match (all, found) {
            (Some(all), Some(at)) => {
                all.remove(at);
                Ok(true)
            }
            _ if if_exists => Ok(false),
            (all, _) => {
                let known = all.cloned().unwrap_or_default();
                let failure = Failure::user("EXPECTATION_NOT_FOUND", format!("{table} has no expectation {name}"));
                Err(failure.with_hint(or_list(name, "Its expectations", known.iter().map(|known| known.name.as_str()))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use selvedge_model::expectation::{OnViolation, Rule};

    use super::*;
    use crate::catalog::{Format, TableDef};
    use crate::store::Location;

    fn table(name: &TableName) -> TableDef {
        TableDef {
            name: name.clone(),
            format: Format::Parquet,
            location: Location::parse("s3://b/t/").unwrap(),
            schema: Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])),
            partition_by: vec![],
            options: BTreeMap::new(),
            owner: String::new(),
        }
    }

    fn rows(name: &str, at_least: u64) -> Expectation {
        let rule = Rule::Rows { at_least, at_most: None };
        Expectation { name: name.into(), rule, on_violation: OnViolation::Fail }
    }

    #[test]
    fn expectations_are_those_of_their_table() {
        let catalog = Catalog::new();
        let t: TableName = "t".parse().unwrap();
        assert_eq!(catalog.put_expectation(&t, rows("e", 1)).unwrap_err().code, "TABLE_NOT_FOUND");
        catalog.create_table(table(&t), false, false).unwrap();
        assert!(catalog.put_expectation(&t, rows("e", 1)).unwrap());
        assert!(!catalog.put_expectation(&t, rows("e", 1)).unwrap(), "it is there already");
        let copy = catalog.fork();
        assert!(catalog.put_expectation(&t, rows("e", 2)).unwrap(), "it is another one now");
        assert!(catalog.put_expectation(&t, rows("d", 3)).unwrap());
        assert_eq!(catalog.expectations(&t), [rows("d", 3), rows("e", 2)]);
        assert_eq!(copy.expectations(&t), [rows("e", 1)], "a copy is a copy");
        assert_eq!(catalog.expecting(), std::slice::from_ref(&t));

        catalog.create_table(table(&t), false, true).unwrap();
        assert_eq!(catalog.expectations(&t).len(), 2, "a table that is replaced keeps them");
        let missing = catalog.drop_expectation(&t, "f", false).unwrap_err();
        assert!(missing.code == "EXPECTATION_NOT_FOUND" && !missing.hint.is_empty(), "{missing}");
        assert!(!catalog.drop_expectation(&t, "f", true).unwrap());
        assert!(catalog.drop_expectation(&t, "d", false).unwrap());
        catalog.drop_table(&t, false).unwrap();
        catalog.create_table(table(&t), false, false).unwrap();
        assert!(catalog.expectations(&t).is_empty(), "they go with the table");
        assert!(catalog.expecting().is_empty());
        assert!(!catalog.drop_expectation(&"none".parse().unwrap(), "e", true).unwrap());
    }
}
