//! Reads scripts: a file, stdin, or the command line's own text.

use std::io::Read as _;
use std::path::Path;

use crate::args::ScriptSource;
use crate::error::CliError;

/// No script that people write is larger; a data file given by mistake is.
const MAX_SCRIPT_BYTES: u64 = 16 * 1024 * 1024;

/// A script and the name that messages call it by.
pub struct ScriptText {
    /// The text as written.
    pub text: String,
    /// A file's name, `stdin` or `-c`.
    pub name: String,
}

/// Reads a script.
///
/// # Errors
/// When there is none, or it is not text: wrong usage, since it is the call that names it.
pub fn read(source: ScriptSource) -> Result<ScriptText, CliError> {
    match source {
        ScriptSource::Text(text) => Ok(ScriptText { text, name: "-c".to_owned() }),
        ScriptSource::Stdin => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().take(MAX_SCRIPT_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|e| CliError::local("cannot read stdin", &e))?;
            text(bytes, "stdin")
        }
        ScriptSource::File(path) => file(&path),
    }
}

fn file(path: &Path) -> Result<ScriptText, CliError> {
    let name = path.display().to_string();
    let read = std::fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_SCRIPT_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read {
        Ok(bytes) => text(bytes, &name),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let hint = "give the path of a SQL file; jobs kept on the scheduler cannot be submitted by name yet";
            Err(CliError::usage("FILE_NOT_FOUND", format!("there is no file '{name}'"), hint))
        }
        Err(e) => {
            Err(CliError::usage("BAD_SCRIPT", format!("cannot read '{name}': {e}"), "give the path of a SQL file"))
        }
    }
}

fn text(bytes: Vec<u8>, name: &str) -> Result<ScriptText, CliError> {
    if bytes.len() as u64 > MAX_SCRIPT_BYTES {
        let cause = format!("'{name}' is larger than 16 MiB: it is hardly a SQL script");
        return Err(CliError::usage("BAD_SCRIPT", cause, ""));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::usage("BAD_SCRIPT", format!("'{name}' is not UTF-8 text"), "save it as UTF-8"))?;
    if text.trim().is_empty() {
        return Err(CliError::usage("BAD_SCRIPT", format!("'{name}' is empty"), "a script has at least one statement"));
    }
    Ok(ScriptText { text, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use selvedge::model::HasFailure as _;

    use super::*;

    #[test]
    fn what_is_no_script_is_refused_with_a_reason() {
        let refused = [
            (read(ScriptSource::File("/no/such.sql".into())), "FILE_NOT_FOUND"),
            (read(ScriptSource::File("/".into())), "BAD_SCRIPT"),
            (text(vec![0xff, 0xfe], "x"), "BAD_SCRIPT"),
            (text(b" \n".to_vec(), "x"), "BAD_SCRIPT"),
        ];
        for (read, code) in refused {
            let error = read.err().unwrap();
            assert_eq!((error.failure().code.as_str(), error.exit_code()), (code, 2));
        }
    }
}
