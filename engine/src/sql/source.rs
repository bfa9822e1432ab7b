//! A script's text as it is parsed, and for each character of it where it stands in the text that its author wrote.
//!
//! Jinja moves text: a value is longer than its `{{ name }}`, a loop repeats lines. Failures must point at the file the
//! author has open. Built by `template`, which learns the origins from minijinja; asked by `parse` and by the planner.

use selvedge_model::Place;

/// Where a stretch of the rendered text came from. It reaches to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// Its first byte in the rendered text.
    pub rendered: usize,
    /// The byte in the written text.
    pub written: usize,
    /// Whether the stretch was copied as it is; otherwise all of it is the value of the expression at `written`.
    pub verbatim: bool,
}

/// A text and where its lines begin.
#[derive(Debug, Clone)]
struct Lines {
    text: String,
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: String) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// A line (from 0) with its first byte, without its end.
    fn line(&self, row: usize) -> Option<(usize, &str)> {
        let start = *self.starts.get(row)?;
        let end = self.starts.get(row + 1).map_or(self.text.len(), |next| next - 1);
        Some((start, self.text.get(start..end)?.trim_end_matches('\r')))
    }
}

/// Text to parse, with its origin.
#[derive(Debug, Clone)]
pub struct ScriptSource {
    written: Lines,
    rendered: Lines,
    origins: Vec<Origin>,
}

impl ScriptSource {
    /// Text that is parsed as it was written.
    pub(super) fn verbatim(text: &str) -> Self {
        Self::rendered(text, text.to_owned(), vec![Origin { rendered: 0, written: 0, verbatim: true }])
    }

    /// Text with parameters filled in. Origins are in the order of the rendered text.
    pub(super) fn rendered(written: &str, rendered: String, origins: Vec<Origin>) -> Self {
        Self { written: Lines::new(written.to_owned()), rendered: Lines::new(rendered), origins }
    }

    /// The text that statements are parsed from.
    pub fn text(&self) -> &str {
        &self.rendered.text
    }

    /// The text as its author wrote it.
    pub fn written(&self) -> &str {
        &self.written.text
    }

    /// The place in the written text of a line and column (from 1) of the parsed text.
    pub fn place(&self, statement: u32, line: u64, column: u64) -> Place {
        self.place_of_rendered(statement, self.byte_at(line, column))
    }

    /// The place in the written text of a byte of the parsed text.
    pub(super) fn place_of_rendered(&self, statement: u32, byte: usize) -> Place {
        let next = self.origins.partition_point(|o| o.rendered <= byte);
        let written = match next.checked_sub(1).and_then(|i| self.origins.get(i)) {
            Some(origin) if origin.verbatim => origin.written + (byte - origin.rendered),
            Some(origin) => origin.written,
            None => 0,
        };
        self.place_of_byte(statement, written)
    }

    /// The place of a byte of the written text.
    pub(super) fn place_of_byte(&self, statement: u32, byte: usize) -> Place {
        let byte = byte.min(self.written.text.len());
        let row = self.written.starts.partition_point(|start| *start <= byte).saturating_sub(1);
        let (start, line) = self.written.line(row).unwrap_or_default();
        let column = line.char_indices().take_while(|(at, _)| start + at < byte).count() + 1;
        let line_text = line.chars().take(LINE_TEXT_CHARS).collect();
        Place { statement, line: clamp(row + 1), column: clamp(column), line_text }
    }

    /// The byte in the parsed text of a line and column (from 1).
    pub(super) fn byte_at(&self, line: u64, column: u64) -> usize {
        let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
        let Some((start, text)) = self.rendered.line(index(line)) else { return self.rendered.text.len() };
        start + text.char_indices().nth(index(column)).map_or(text.len(), |(at, _)| at)
    }
}

/// As much of a line as a message shows.
const LINE_TEXT_CHARS: usize = 1000;

fn clamp(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
