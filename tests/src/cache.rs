//! What is kept between test runs: generated data and the Python environment, under one directory outside the checkout.

use std::path::PathBuf;

use crate::{Outcome, fail};

/// `$SELVEDGE_CACHE`, or `~/.cache/selvedge`.
pub fn dir() -> Outcome<PathBuf> {
    if let Some(dir) = std::env::var_os("SELVEDGE_CACHE").filter(|d| !d.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| fail("neither SELVEDGE_CACHE nor HOME is set"))?;
    Ok(PathBuf::from(home).join(".cache").join("selvedge"))
}

/// The interpreter with duckdb and pyarrow: `$SELVEDGE_TEST_PYTHON`, or the one that `make tools` installed.
pub fn python() -> Outcome<PathBuf> {
    tool("SELVEDGE_TEST_PYTHON", "python3")
}

/// The SeaweedFS binary: `$SELVEDGE_TEST_WEED`, or the one that `make tools` installed.
pub fn weed() -> Outcome<PathBuf> {
    tool("SELVEDGE_TEST_WEED", "weed")
}

fn tool(variable: &str, name: &str) -> Outcome<PathBuf> {
    let path = match std::env::var_os(variable).filter(|v| !v.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => dir()?.join("python").join("bin").join(name),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(fail(format!("{} is not there: run `make tools`, or set {variable}", path.display())))
}
