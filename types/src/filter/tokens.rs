//! The words of a SQL92 expression: names, literals and signs, without blanks and comments.
//!
//! Source: the token rules of Apache's `SelectorParser.jj`.

use winnow::Parser as _;
use winnow::ascii::{digit0, digit1};
use winnow::combinator::{alt, cut_err, delimited, not, opt, repeat, terminated};
use winnow::error::ModalResult;
use winnow::stream::{LocatingSlice, Location as _};
use winnow::token::{one_of, take_till, take_until, take_while};

use super::Error;

/// One word and the byte at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) start: usize,
    pub(super) kind: Kind<'a>,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A property's name or a keyword.
    Word(&'a str),
    /// A text without its quotes.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// An operator, bracket or comma.
    Sign(&'static str),
    /// Behind the last word.
    End,
}

type Input<'a> = LocatingSlice<&'a str>;

/// Splits a text into its words, the last being [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Error> {
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        let blank = blanks.parse_next(&mut input);
        let start = input.current_token_start();
        if blank.is_err() {
            return Err(bad(text, start, "the end of a comment"));
        }
        if input.is_empty() {
            tokens.push(Token { start, kind: Kind::End });
            return Ok(tokens);
        }
        let kind = kind.parse_next(&mut input).map_err(|_| bad(text, start, "a name, number, 'text' or operator"))?;
        tokens.push(Token { start, kind });
    }
}

fn bad(text: &str, at: usize, expected: &'static str) -> Error {
    let found = text.get(at..).and_then(|rest| rest.chars().next());
    let found = found.map_or_else(|| "the end".to_owned(), |found| format!("{found:?}"));
    Error::Syntax { position: position(text, at), expected, found }
}

/// A byte's place, in characters from 1.
pub(super) fn position(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(0, |before| before.chars().count()) + 1
}

/// White space, `-- to the end of the line` and `/* between */`. Fails on a comment without end.
fn blanks(input: &mut Input<'_>) -> ModalResult<()> {
    let line = ("--", take_till(0.., ['\n', '\r'])).void();
    let block = ("/*", cut_err((take_until(0.., "*/"), "*/"))).void();
    let space = take_while(1.., [' ', '\t', '\n', '\r', '\x0c']).void();
    repeat(0.., alt((space, line, block))).parse_next(input)
}

fn kind<'a>(input: &mut Input<'a>) -> ModalResult<Kind<'a>> {
    alt((word.map(Kind::Word), text.map(Kind::Text), number, sign.map(Kind::Sign))).parse_next(input)
}

fn word<'a>(input: &mut Input<'a>) -> ModalResult<&'a str> {
    let first = one_of(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$');
    let rest = take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$');
    (first, rest).take().parse_next(input)
}

/// A quote inside is written twice.
fn text(input: &mut Input<'_>) -> ModalResult<String> {
    let part = alt((take_while(1.., |c| c != '\''), "\'\'".value("'")));
    let inside = repeat(0.., part).fold(String::new, |mut text, part: &str| {
        text.push_str(part);
        text
    });
    delimited('\'', inside, '\'').parse_next(input)
}

/// `5`, `5L`, `5.5`, `5.`, `.5`, each but the first two with an exponent or `5E10`. What follows may not be part of a name.
fn number<'a>(input: &mut Input<'a>) -> ModalResult<Kind<'a>> {
    let exponent = || (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1).void();
    let fraction = alt((
        (digit1, '.', digit0, opt(exponent())).void(),
        ('.', digit1, opt(exponent())).void(),
        (digit1, exponent()).void(),
    ));
    let float = fraction.take().parse_to::<f64>().verify(|value| value.is_finite()).map(Kind::Float);
    let int = terminated(digit1.parse_to::<i64>().map(Kind::Int), opt(one_of(['l', 'L'])));
    let end = not(one_of(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || c == '.'));
    terminated(alt((float, int)), end).parse_next(input)
}

fn sign(input: &mut Input<'_>) -> ModalResult<&'static str> {
    let longest_first = alt(("<>".value("<>"), "<=".value("<="), ">=".value(">=")));
    let single = alt((
        '='.value("="),
        '<'.value("<"),
        '>'.value(">"),
        '('.value("("),
        ')'.value(")"),
        ','.value(","),
        '+'.value("+"),
        '-'.value("-"),
    ));
    alt((longest_first, single)).parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind<'_>> {
        tokens(text).expect("valid").into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn words_literals_and_signs_are_told_apart() {
        use Kind::{End, Float, Int, Sign, Text, Word};
        let all = "a_$1>=5l -- b\n<>'it''s'/* x* */(.5E1, 5. 5E-1 0)";
        let expected = [
            Word("a_$1"),
            Sign(">="),
            Int(5),
            Sign("<>"),
            Text("it's".to_owned()),
            Sign("("),
            Float(5.0),
            Sign(","),
            Float(5.0),
            Float(0.5),
            Int(0),
            Sign(")"),
            End,
        ];
        assert_eq!(kinds(all), expected);
    }

    #[test]
    fn places_are_counted_in_characters() {
        let syntax = |position, expected, found: &str| Error::Syntax { position, expected, found: found.to_owned() };
        const WORD: &str = "a name, number, 'text' or operator";
        assert_eq!(tokens("a = 'é' ; b"), Err(syntax(9, WORD, "';'")));
        assert_eq!(tokens("a = 'open"), Err(syntax(5, WORD, "'\\''")));
        assert_eq!(tokens("a = 5x"), Err(syntax(5, WORD, "'5'")));
        assert_eq!(tokens("a = 99999999999999999999"), Err(syntax(5, WORD, "'9'")));
        assert!(matches!(tokens("a /* b"), Err(Error::Syntax { expected: "the end of a comment", .. })));
    }
}
