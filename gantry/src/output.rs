//! How results are printed: tables for people, JSON for programs.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use comfy_table::{Row, Table, presets};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Which of the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) is_json: bool,
}

impl Output {
    /// Prints `value` as JSON, or as what `to_text` makes of it.
    pub(crate) fn print<T: DeserializeOwned>(self, value: Value, to_text: impl Fn(T) -> String) -> anyhow::Result<()> {
        let text =
            if self.is_json { serde_json::to_string_pretty(&value)? } else { to_text(serde_json::from_value(value)?) };
        print(text)
    }

    /// Prints a value of our own in the same two ways.
    pub(crate) fn show<T: Serialize>(self, value: &T, to_text: impl Fn(&T) -> String) -> anyhow::Result<()> {
        let text = if self.is_json { serde_json::to_string_pretty(value)? } else { to_text(value) };
        print(text)
    }

    /// Prints that something was done; JSON has nothing to say then.
    pub(crate) fn done(self, text: &str) -> anyhow::Result<()> {
        if self.is_json { Ok(()) } else { print(text) }
    }
}

/// Prints text and a line's end on standard output.
pub(crate) fn print(text: impl Display) -> anyhow::Result<()> {
    printed(writeln!(io::stdout(), "{text}"))
}

/// What printing on standard output came to: a reader that closed the pipe, as `head` does, has seen enough.
pub(crate) fn printed(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print"),
    }
}

/// Rows below a heading, without lines: easy to read and to cut.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading).add_rows(rows.into_iter().map(Row::from));
    table.trim_fmt()
}

/// Names and values, one a line.
pub(crate) fn facts<const N: usize>(facts: [(&str, String); N]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([name.to_owned(), value]);
    }
    table.trim_fmt()
}

/// `yes` or `no`.
pub(crate) fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

/// Milliseconds as people write them: `1h`, `10s`, `250ms`.
pub(crate) fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match UNITS.iter().find(|(worth, _)| ms >= *worth && ms.is_multiple_of(*worth)) {
        Some((worth, unit)) => format!("{}{unit}", ms / worth),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_typed() {
        assert_eq!(duration(7_200_000), "2h");
        assert_eq!(duration(90_000), "90s");
        assert_eq!(duration(1_500), "1500ms");
        assert_eq!(duration(0), "0ms");
    }

    #[test]
    fn tables_have_a_heading_and_no_lines() {
        let text = table(["NAME", "TYPE"], [["orders".to_owned(), "FIFO".to_owned()]]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [["NAME", "TYPE"], ["orders", "FIFO"]]);
    }
}
