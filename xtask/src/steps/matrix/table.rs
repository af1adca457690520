//! The page that shows what happened in each cell.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{CELLS, Cell, Findings, PROLONGED};
use crate::reference;

/// Where it is, from the checkout's root.
pub(super) const PAGE: &str = "docs/compatibility-matrix.md";

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(root: &Path, all: &[(Cell, Findings)]) -> Result<()> {
    std::fs::write(root.join(PAGE), page(all)).with_context(|| format!("writing {PAGE}"))
}

fn page(all: &[(Cell, Findings)]) -> String {
    let version = reference::VERSION;
    let mut page = format!(
        "# Compatibility matrix\n\nWritten by `cargo xtask test --full --only matrix`; do not edit. Gantry's proxy and Apache RocketMQ {version}'s, each before\n\
         name server and broker of either, with the official clients' example programs ([sdk-examples](../sdk-examples/README.md), which say what\n\
         each scenario checks) and the programs of [tests/proxy](../tests/proxy) beside them: `batch`, `dead-letter`, `{PROLONGED}`. `normal` has the\n\
         change of the invisible time, `push` the retry, `transaction` the check-back, `filter` tags and SQL92. `–`: the SDK has no such feature.\n\n"
    );
    let columns: Vec<String> = CELLS.iter().map(ToString::to_string).collect();
    page.push_str(&format!("| SDK | scenario | {} |\n", columns.join(" | ")));
    page.push_str(&format!("|---|---|{}\n", "---|".repeat(columns.len())));
    let mut notes = Vec::new();
    let rows: BTreeSet<_> = all.iter().flat_map(|(_, findings)| findings.keys()).collect();
    for name in rows {
        let (sdk, feature) = name;
        let shown = CELLS.map(|cell| {
            let findings = all.iter().find(|(of, _)| *of == cell).map(|(_, findings)| findings);
            match findings.and_then(|findings| findings.get(name)).map(|found| (found.ok, &found.detail)) {
                None => "not run",
                Some((None, _)) => "–",
                Some((Some(true), _)) => "yes",
                Some((Some(false), detail)) => {
                    notes.push(format!("- {cell}, {sdk} {feature}: {}\n", detail.replace('\n', " ")));
                    "**no**"
                }
            }
        });
        page.push_str(&format!("| {sdk} | {feature} | {} |\n", shown.join(" | ")));
    }
    if !notes.is_empty() {
        page.push_str(&format!("\nWhat failed:\n\n{}", notes.concat()));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::Finding;
    use super::*;

    #[test]
    fn a_failure_is_shown_with_its_reason() {
        let found = |ok| Finding { feature: "fifo".to_owned(), ok, detail: "two\nlines".to_owned() };
        let findings = |ok| [(("go", "fifo".to_owned()), found(ok))].into();
        let page =
            page(&[(CELLS[0], findings(Some(true))), (CELLS[1], findings(Some(false))), (CELLS[2], findings(None))]);
        assert!(page.contains("| go | fifo | yes | **no** | – | not run |"), "{page}");
        assert!(page.ends_with("- Apache proxy, Gantry broker, go fifo: two lines\n"), "{page}");
    }
}
