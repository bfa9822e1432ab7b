//! A process whose wall clock is off: a few lines of C, loaded before libc, add seconds to what it is told.

use std::path::Path;
use std::process::Command;

use crate::{Outcome, fail};

const SOURCE: &str = include_str!("skewed_clock.c");

/// The environment that puts a process's clock `seconds` off. The library is built in `directory`, which must outlive it.
pub fn envs(seconds: i64, directory: &Path) -> Outcome<Vec<(String, String)>> {
    let (source, library) = (directory.join("skewed_clock.c"), directory.join("skewed_clock.so"));
    if !library.is_file() {
        std::fs::write(&source, SOURCE)?;
        let status = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status()?;
        if !status.success() {
            return Err(fail(format!("cc cannot build {}", source.display())));
        }
    }
    let library = library.to_string_lossy().into_owned();
    Ok(vec![("LD_PRELOAD".to_owned(), library), ("SKEWED_CLOCK_S".to_owned(), seconds.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_was_asked_for() {
        let directory = tempfile::TempDir::new().unwrap();
        let year = |seconds| {
            let envs = envs(seconds, directory.path()).unwrap();
            let output = Command::new("date").args(["-u", "+%s"]).envs(envs).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse::<i64>().unwrap()
        };
        let off = year(86_400) - year(0);
        assert!((86_399..=86_402).contains(&off), "{off}");
    }
}
