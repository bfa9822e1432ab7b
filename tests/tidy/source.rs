//! Reads Rust sources just well enough to judge them: code without comments, string contents and test modules.
//! `tidy.rs` holds the rules.

/// A source file.
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl Source {
    /// Line number and code of each line: without comments, string contents and test modules.
    pub fn code(&self) -> Vec<(usize, String)> {
        let mut lines = Vec::new();
        let mut blank = Blank::default();
        for (at, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") && self.rest_is_tests(at) {
                break;
            }
            lines.push((at + 1, blank.line(line)));
        }
        lines
    }

    /// Test modules come last in a file; a `#[cfg(test)]` on a single item does not end the code.
    fn rest_is_tests(&self, at: usize) -> bool {
        self.text
            .lines()
            .skip(at + 1)
            .find(|l| !l.trim_start().starts_with("#["))
            .is_some_and(|l| module_name(l).is_some_and(|name| name.ends_with('{')))
    }

    /// The files that this one includes under `#[cfg(test)]` as `mod name;`, perhaps with a `#[path = "..."]`.
    pub fn test_modules(&self) -> Vec<String> {
        let (directory, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        let below =
            if matches!(stem, "mod" | "lib" | "main") { directory.to_owned() } else { format!("{directory}/{stem}") };
        let lines: Vec<&str> = self.text.lines().map(str::trim).collect();
        let mut found = Vec::new();
        for at in (0..lines.len()).filter(|at| lines[*at] == "#[cfg(test)]") {
            let next: Vec<&str> = lines[at + 1..].iter().take(3).copied().collect();
            let path = next.iter().find_map(|l| l.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
            let item = next.iter().find(|l| !l.starts_with("#["));
            let name = item.and_then(|l| module_name(l)?.strip_suffix(';'));
            match (name, path) {
                (Some(_), Some(path)) => found.push(format!("{directory}/{path}")),
                (Some(name), None) => found.extend([format!("{below}/{name}.rs"), format!("{below}/{name}/")]),
                (None, _) => {}
            }
        }
        found
    }
}

/// What follows `mod`, whatever its visibility.
fn module_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    ["", "pub ", "pub(crate) ", "pub(super) "].iter().find_map(|seen| line.strip_prefix(seen)?.strip_prefix("mod "))
}

/// Whether a file is a test, or is only there for tests.
pub fn is_test(source: &Source, test_modules: &[String]) -> bool {
    let of_tests =
        |module: &String| source.path == *module || (module.ends_with('/') && source.path.starts_with(module));
    source.path.starts_with("tests/") || test_modules.iter().any(of_tests)
}

/// Takes comments and the contents of strings out of lines, remembering a string or comment that goes on.
#[derive(Default)]
struct Blank {
    /// What would end the string that is open: `"`, `"#`, ...
    string_end: Option<String>,
    comment_depth: usize,
}

impl Blank {
    fn line(&mut self, line: &str) -> String {
        let mut code = String::new();
        let mut rest = line;
        while !rest.is_empty() {
            rest = if let Some(end) = self.string_end.clone() {
                self.inside_string(rest, &end)
            } else if self.comment_depth > 0 {
                self.inside_comment(rest)
            } else if rest.starts_with("//") {
                ""
            } else if let Some(after) = rest.strip_prefix("/*") {
                self.comment_depth = 1;
                after
            } else {
                self.code(rest, &mut code)
            };
        }
        code
    }

    fn inside_string<'a>(&mut self, rest: &'a str, end: &str) -> &'a str {
        if end == "\"" && rest.starts_with('\\') {
            return rest.char_indices().nth(2).map_or("", |(i, _)| &rest[i..]);
        }
        if let Some(after) = rest.strip_prefix(end) {
            self.string_end = None;
            return after;
        }
        rest.char_indices().nth(1).map_or("", |(i, _)| &rest[i..])
    }

    fn inside_comment<'a>(&mut self, rest: &'a str) -> &'a str {
        if let Some(after) = rest.strip_prefix("*/") {
            self.comment_depth -= 1;
            return after;
        }
        if let Some(after) = rest.strip_prefix("/*") {
            self.comment_depth += 1;
            return after;
        }
        rest.char_indices().nth(1).map_or("", |(i, _)| &rest[i..])
    }

    fn code<'a>(&mut self, rest: &'a str, code: &mut String) -> &'a str {
        for quote in ["'\"'", "'\\\"'", "'\\''"] {
            if let Some(after) = rest.strip_prefix(quote) {
                return after;
            }
        }
        let word_before = code.chars().last().is_some_and(|c| c.is_alphanumeric() || c == '_');
        if !word_before && let Some(raw) = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br")) {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if let Some(after) = raw[hashes..].strip_prefix('"') {
                self.string_end = Some(format!("\"{}", "#".repeat(hashes)));
                return after;
            }
        }
        let mut chars = rest.char_indices();
        let first = chars.next().map(|(_, c)| c);
        if first == Some('"') {
            self.string_end = Some("\"".to_owned());
        }
        code.extend(first);
        chars.next().map_or("", |(i, _)| &rest[i..])
    }
}

#[test]
fn the_reader_of_code_skips_comments_strings_and_tests() {
    let text = "let a = \"dbg!(\"; // dbg!(\nlet b = r#\"x\ndbg!(\n\"#; real(); /* dbg!(\n */ let c = '\"'; dbg!(c);\n\
                #[cfg(test)]\nmod tests {\n dbg!(1);\n}\n";
    let source = Source { path: "x.rs".into(), text: text.into() };
    let hits: Vec<usize> = source.code().into_iter().filter(|(_, c)| c.contains("dbg!(")).map(|(n, _)| n).collect();
    assert_eq!(hits, [5]);
    assert!(source.code().iter().any(|(n, c)| *n == 4 && c.contains("real()")));
    let text =
        "#[cfg(test)]\npub(crate) mod samples;\nmod real;\n#[cfg(test)]\n#[path = \"rows_tests.rs\"]\nmod tests;\n"
            .to_owned();
    let modules = Source { path: "a/src/rows.rs".into(), text }.test_modules();
    assert_eq!(modules, ["a/src/rows/samples.rs", "a/src/rows/samples/", "a/src/rows_tests.rs"]);
}
