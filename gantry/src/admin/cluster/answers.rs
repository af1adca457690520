//! What several brokers answered, and who did not: a part of an answer is never shown as the whole.

use anyhow::bail;
use serde::Serialize;

use super::network::{Error, Node};
use crate::output::{Output, table};

/// What was found out, and whose answer is missing in it.
#[derive(Debug, Serialize)]
pub(super) struct Answers<T> {
    #[serde(flatten)]
    pub(super) found: T,
    pub(super) missing: Vec<Missing>,
}

/// One that did not answer, or refused.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Missing {
    broker: String,
    address: String,
    why: String,
}

/// Tells answers from failures.
pub(super) fn sort<T>(answers: Vec<(Node, Result<T, Error>)>) -> (Vec<(Node, T)>, Vec<Missing>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (node, answer) in answers {
        match answer {
            Ok(answer) => found.push((node, answer)),
            Err(error) => missing.push(Missing::new(node, &error)),
        }
    }
    (found, missing)
}

impl Missing {
    pub(super) fn new(node: Node, error: &Error) -> Self {
        Self { broker: node.broker, address: node.address, why: error.to_string() }
    }
}

/// Adds those who are gone too. Who is missing is so once, for the first reason, not for each question again.
pub(super) fn note(missing: &mut Vec<Missing>, gone: Vec<Missing>) {
    for gone in gone {
        if !missing.iter().any(|known| known.address == gone.address) {
            missing.push(gone);
        }
    }
}

impl<T: Serialize> Answers<T> {
    /// Prints all of it, and fails if an answer is missing.
    pub(super) fn print(self, output: Output, to_text: impl Fn(&T) -> String) -> anyhow::Result<()> {
        output.show(&self, |answers| text(to_text(&answers.found), &answers.missing))?;
        check(&self.missing)
    }
}

/// A text, and below it who is missing.
fn text(found: String, missing: &[Missing]) -> String {
    if missing.is_empty() {
        return found;
    }
    let rows = missing.iter().map(|Missing { broker, address, why }| [broker.clone(), address.clone(), why.clone()]);
    format!("{found}\n\n{}", table(["MISSING", "ADDRESS", "WHY"], rows))
}

/// Fails if an answer is missing.
pub(super) fn check(missing: &[Missing]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|missing| missing.broker.as_str()).collect();
    bail!("the answer of {} is missing", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::node;
    use super::*;

    #[test]
    fn a_missing_answer_is_shown_and_an_error() {
        let failed = || Error::NoMaster { broker: "b".to_owned() };
        let (found, missing) = sort(vec![(node("a", 0), Ok(1)), (node("b", 0), Err(failed()))]);
        assert_eq!(found, [(node("a", 0), 1)]);
        let shown = text("A  1".to_owned(), &missing);
        assert!(shown.starts_with("A  1\n\n MISSING") && shown.contains(&failed().to_string()), "{shown}");
        assert_eq!(check(&missing).expect_err("missing").to_string(), "the answer of b is missing");

        #[derive(Serialize)]
        struct Found {
            count: u32,
        }
        let json = serde_json::to_value(Answers { found: Found { count: 1 }, missing }).expect("JSON");
        assert_eq!(json["count"], 1);
        assert_eq!(json["missing"][0]["broker"], "b");
    }

    #[test]
    fn who_is_missing_is_so_once() {
        let gone = |broker: &str, id| Missing::new(node(broker, id), &Error::NoMaster { broker: broker.to_owned() });
        let mut missing = vec![gone("a", 0)];
        note(&mut missing, vec![gone("a", 0), gone("b", 1), gone("b", 1)]);
        assert_eq!(missing, [gone("a", 0), gone("b", 1)]);
    }

    #[test]
    fn a_whole_answer_stands_alone() {
        assert_eq!(text("A".to_owned(), &[]), "A");
        check(&[]).expect("nothing is missing");
    }
}
