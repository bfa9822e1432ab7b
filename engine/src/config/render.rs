//! Prints resolved options as a TOML file with comments, for `--print-config`: what it prints reads back as the same options.
//!
//! Nothing secret is held in options: addresses with credentials are refused, and the AWS chain keeps its own.

use std::fmt::Write as _;

use super::Key;

const WIDTH: usize = 100;

/// The options of `program` as a commented TOML file; `values` has every key of the table.
pub fn render(program: &str, keys: &[Key], values: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let values: Vec<_> = values.into_iter().collect();
    let mut out = format!("# The {program}'s configuration as resolved: file < SELVEDGE_* environment < flags.\n");
    let mut section = "";
    // Keys of the top level come first: in TOML a section lasts to the end.
    let (top, nested): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|k| !k.name.contains('.'));
    for key in top.into_iter().chain(nested) {
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if table != section {
            section = table;
            push(&mut out, format_args!("\n[{table}]\n"));
        }
        for line in wrap(key.doc) {
            push(&mut out, format_args!("\n# {line}"));
        }
        let default = if key.default.is_empty() { "none" } else { key.default };
        push(&mut out, format_args!("\n# Default: {default}\n"));
        if let Some((_, value)) = values.iter().find(|(given, _)| *given == key.name) {
            push(&mut out, format_args!("{name} = {}\n", toml_value(value)));
        }
    }
    out
}

/// The table of keys as docs/configuration.md has it.
pub fn markdown(keys: &[Key]) -> String {
    let mut out = String::from("| Key | Default | Meaning |\n|---|---|---|\n");
    for Key { name, default, doc } in keys {
        let default = if default.is_empty() { String::new() } else { format!("`{default}` ") };
        push(&mut out, format_args!("| `{name}` | {default}| {doc} |\n"));
    }
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

/// Numbers and truth values bare, all else as text.
fn toml_value(value: &str) -> String {
    let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_number || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    toml::Value::from(value).to_string()
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_reads_back_as_itself() {
        const KEYS: &[Key] = &[Key::new("s3.profile", "", "A name."), Key::new("port", "0", "A number.")];
        for text in ["", "we\"ird", "a\\b", "tab\tline\n", "'quoted'", "007", "7", "true", "\u{7f}"] {
            let printed = render("scheduler", KEYS, [("s3.profile", text.to_owned()), ("port", "7".to_owned())]);
            let read: toml::Table = printed.parse().unwrap();
            let profile = &read["s3"]["profile"];
            let profile = profile.as_str().map_or_else(|| profile.to_string(), str::to_owned);
            assert_eq!((profile.as_str(), read["port"].as_integer()), (text, Some(7)), "{printed}");
        }
    }
}
