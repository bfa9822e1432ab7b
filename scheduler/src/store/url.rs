//! The store's address as one types it: `sqlite:PATH` or `sqlite::memory:`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file of SQLite's.
    Sqlite(PathBuf),
    /// In this process: it ends with it.
    Memory,
}

impl StoreUrl {
    /// The store of a scheduler that was told none: in this user's data directory, as the XDG specification has it. `None`
    /// when there is no home directory either.
    pub fn of_user(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
        Some(Self::Sqlite(data.join("selvedge").join("scheduler.db")))
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Nothing of the text is repeated: an address of a database may hold a password.
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Err(
                "this version keeps its store in SQLite only, sqlite:PATH; PostgreSQL comes with a later one".into()
            );
        }
        match text.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest)) {
            Some(":memory:") => Ok(Self::Memory),
            Some("") => Err("sqlite: must name a file, or be sqlite::memory:".into()),
            Some(path) => Ok(Self::Sqlite(path.into())),
            None => Err("a store is sqlite:PATH or sqlite::memory:".into()),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Memory => f.write_str("sqlite::memory:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for text in ["sqlite::memory:", "sqlite:state.db", "sqlite:/var/lib/selvedge/scheduler.db"] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
        assert_eq!("sqlite:///x.db".parse::<StoreUrl>(), Ok(StoreUrl::Sqlite("/x.db".into())));
        for text in ["", "memory", "sqlite:", "mysql://h/x"] {
            assert!(text.parse::<StoreUrl>().is_err(), "{text}");
        }
        let refused = "postgres://user:secret@db/x".parse::<StoreUrl>().unwrap_err();
        assert!(refused.contains("later") && !refused.contains("secret"), "{refused}");
    }

    #[test]
    fn a_users_store_is_in_the_data_directory() {
        let at = |pairs: &'static [(&str, &str)]| {
            let found = move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            StoreUrl::of_user(found).map(|url| url.to_string())
        };
        let home = Some("sqlite:/me/.local/share/selvedge/scheduler.db".to_owned());
        assert_eq!(at(&[("HOME", "/me")]), home);
        assert_eq!(at(&[("HOME", "/me"), ("XDG_DATA_HOME", "relative")]), home);
        let xdg = at(&[("HOME", "/me"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(xdg.as_deref(), Some("sqlite:/data/selvedge/scheduler.db"));
        assert_eq!(at(&[]), None);
    }
}
