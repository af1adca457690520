//! SQL92 expressions: their grammar, and which operands each operator takes.
//!
//! ```text
//! or         = and { OR and }
//! and        = equality { AND equality }
//! equality   = comparison { = comparison | <> comparison | IS [NOT] NULL }
//! comparison = unary { (> | >= | < | <=) unary | [NOT] BETWEEN unary AND unary | [NOT] IN ( 'text' {, 'text'} )
//!                      | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) 'text' }
//! unary      = (+ | - | NOT) unary | literal | property | ( or )
//! ```
//! NOT binds tighter than any comparison, as in Apache: write `NOT (a = 1)`. Keywords have no case, property names do.
//!
//! Source: the grammar of Apache's `SelectorParser.jj` and the checks of its `ComparisonExpression`.

use super::tokens::{Kind, Token, position, tokens};
use super::{DEPTH_MAX, Error};

/// What an expression may be made of. Conditions are three-valued, see `evaluate.rs`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Property(String),
    Negate(Box<Self>),
    /// Whether a value is the boolean true: what a property is where a condition must be.
    Truth(Box<Self>),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    IsNull(Box<Self>),
    Equal(Box<Self>, Box<Self>),
    Order(Box<Self>, Order, Box<Self>),
    Match {
        value: Box<Self>,
        part: Part,
        search: String,
        is_not: bool,
    },
    In {
        property: String,
        texts: Vec<String>,
        is_not: bool,
    },
}

/// A comparison of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where in a text another one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Anywhere,
    Start,
    End,
}

const KEYWORDS: [&str; 12] =
    ["NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "FALSE", "NULL", "IS", "CONTAINS", "STARTSWITH", "ENDSWITH"];

/// Reads a whole text as a condition.
pub(super) fn parse(text: &str) -> Result<Expression, Error> {
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let start = parser.start();
    let expression = parser.or()?;
    if parser.tokens[parser.next].kind != Kind::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    parser.condition(expression, start)
}

struct Parser<'a> {
    text: &'a str,
    /// Never empty: the last is [`Kind::End`] and is never passed.
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expression, Error> {
        self.chain("OR", Self::and, Expression::Or)
    }

    fn and(&mut self) -> Result<Expression, Error> {
        self.chain("AND", Self::equality, Expression::And)
    }

    /// `part { keyword part }`; a part that stands alone need not be a condition.
    fn chain(
        &mut self,
        keyword: &'static str,
        part: fn(&mut Self) -> Result<Expression, Error>,
        join: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, Error> {
        let start = self.start();
        let first = part(self)?;
        if !self.is_keyword(keyword) {
            return Ok(first);
        }
        let mut parts = vec![self.condition(first, start)?];
        while self.take_keyword(keyword) {
            let start = self.start();
            let next = part(self)?;
            parts.push(self.condition(next, start)?);
        }
        Ok(join(parts))
    }

    fn equality(&mut self) -> Result<Expression, Error> {
        let depth = self.depth;
        let start = self.start();
        let mut left = self.comparison()?;
        loop {
            // Each turn wraps what is there one level deeper.
            if self.take_sign("=") {
                left = self.equal(left, start)?;
            } else if self.take_sign("<>") {
                left = Expression::Not(Box::new(self.equal(left, start)?));
            } else if self.take_keyword("IS") {
                let is_not = self.take_keyword("NOT");
                if !self.take_keyword("NULL") {
                    return Err(self.unexpected("NULL"));
                }
                let is_null = Expression::IsNull(Box::new(left));
                left = if is_not { Expression::Not(Box::new(is_null)) } else { is_null };
            } else {
                self.depth = depth;
                return Ok(left);
            }
            self.deepen()?;
        }
    }

    fn equal(&mut self, left: Expression, start: usize) -> Result<Expression, Error> {
        self.check_not_null(&left, start)?;
        let start = self.start();
        let right = self.comparison()?;
        self.check_not_null(&right, start)?;
        Ok(Expression::Equal(Box::new(left), Box::new(right)))
    }

    fn comparison(&mut self) -> Result<Expression, Error> {
        let depth = self.depth;
        let start = self.start();
        let mut left = self.unary()?;
        while let Some(order) = self.take_order() {
            left = self.order(left, start, order)?;
            self.deepen()?;
        }
        loop {
            let is_not = self.is_keyword("NOT");
            let operator = self.tokens.get(self.next + usize::from(is_not)).map(|token| &token.kind);
            let Some(Kind::Word(operator)) = operator else { break };
            let operator = KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(operator));
            left = match operator {
                Some("BETWEEN") => self.between(left, start, is_not)?,
                Some("IN") => self.member(left, start, is_not)?,
                Some("CONTAINS") => self.part(left, Part::Anywhere, is_not)?,
                Some("STARTSWITH") => self.part(left, Part::Start, is_not)?,
                Some("ENDSWITH") => self.part(left, Part::End, is_not)?,
                _ => break,
            };
            self.deepen()?;
        }
        self.depth = depth;
        Ok(left)
    }

    fn order(&mut self, left: Expression, start: usize, order: Order) -> Result<Expression, Error> {
        self.check_number(&left, start)?;
        let start = self.start();
        let right = self.unary()?;
        self.check_number(&right, start)?;
        Ok(Expression::Order(Box::new(left), order, Box::new(right)))
    }

    fn between(&mut self, value: Expression, start: usize, is_not: bool) -> Result<Expression, Error> {
        self.next += 1 + usize::from(is_not);
        self.check_number(&value, start)?;
        let low_start = self.start();
        let low = self.unary()?;
        self.check_number(&low, low_start)?;
        if !self.take_keyword("AND") {
            return Err(self.unexpected("AND"));
        }
        let high_start = self.start();
        let high = self.unary()?;
        self.check_number(&high, high_start)?;
        if is_descending(&low, &high) {
            return Err(self.operand(high_start, "the upper bound is below the lower one"));
        }
        let (first, second, join): (_, _, fn(Vec<_>) -> _) = if is_not {
            (Order::Less, Order::Greater, Expression::Or)
        } else {
            (Order::GreaterOrEqual, Order::LessOrEqual, Expression::And)
        };
        let value = Box::new(value);
        Ok(join(vec![
            Expression::Order(value.clone(), first, Box::new(low)),
            Expression::Order(value, second, Box::new(high)),
        ]))
    }

    fn member(&mut self, value: Expression, start: usize, is_not: bool) -> Result<Expression, Error> {
        self.next += 1 + usize::from(is_not);
        let Expression::Property(property) = value else {
            return Err(self.operand(start, "IN takes a property"));
        };
        if !self.take_sign("(") {
            return Err(self.unexpected("("));
        }
        let mut texts = vec![self.take_text()?];
        while self.take_sign(",") {
            texts.push(self.take_text()?);
        }
        if !self.take_sign(")") {
            return Err(self.unexpected(", or )"));
        }
        Ok(Expression::In { property, texts, is_not })
    }

    fn part(&mut self, value: Expression, part: Part, is_not: bool) -> Result<Expression, Error> {
        self.next += 1 + usize::from(is_not);
        Ok(Expression::Match { value: Box::new(value), part, search: self.take_text()?, is_not })
    }

    fn unary(&mut self) -> Result<Expression, Error> {
        self.deepen()?;
        let expression = if self.take_sign("+") {
            self.unary()?
        } else if self.take_sign("-") {
            negate(self.unary()?)
        } else if self.take_keyword("NOT") {
            let start = self.start();
            let operand = self.unary()?;
            Expression::Not(Box::new(self.condition(operand, start)?))
        } else if self.take_sign("(") {
            let inner = self.or()?;
            if !self.take_sign(")") {
                return Err(self.unexpected("an operator or )"));
            }
            inner
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn primary(&mut self) -> Result<Expression, Error> {
        let expression = match &self.tokens[self.next].kind {
            Kind::Text(text) => Expression::Text(text.clone()),
            Kind::Int(value) => Expression::Int(*value),
            Kind::Float(value) => Expression::Float(*value),
            Kind::Word(word) if word.eq_ignore_ascii_case("TRUE") => Expression::Bool(true),
            Kind::Word(word) if word.eq_ignore_ascii_case("FALSE") => Expression::Bool(false),
            Kind::Word(word) if word.eq_ignore_ascii_case("NULL") => Expression::Null,
            Kind::Word(word) if !KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)) => {
                Expression::Property((*word).to_owned())
            }
            Kind::Word(_) | Kind::Sign(_) | Kind::End => return Err(self.unexpected("a property, literal or (")),
        };
        self.next += 1;
        Ok(expression)
    }

    /// Takes an expression as a condition, if it can be one.
    fn condition(&self, expression: Expression, start: usize) -> Result<Expression, Error> {
        match expression {
            Expression::Property(_) => Ok(Expression::Truth(Box::new(expression))),
            _ if expression.is_condition() => Ok(expression),
            _ => Err(self.operand(start, "this is a value, expected a condition")),
        }
    }

    /// Only numbers are ordered; properties may turn out to be.
    fn check_number(&self, expression: &Expression, start: usize) -> Result<(), Error> {
        match expression {
            Expression::Text(_) => Err(self.operand(start, "texts have no order, only numbers have")),
            _ if expression.is_condition() => Err(self.operand(start, "conditions have no order, only numbers have")),
            _ => Ok(()),
        }
    }

    fn check_not_null(&self, expression: &Expression, start: usize) -> Result<(), Error> {
        match expression {
            Expression::Null => Err(self.operand(start, "NULL equals nothing, use IS NULL")),
            _ => Ok(()),
        }
    }

    fn take_order(&mut self) -> Option<Order> {
        let order = match self.tokens[self.next].kind {
            Kind::Sign("<") => Order::Less,
            Kind::Sign("<=") => Order::LessOrEqual,
            Kind::Sign(">") => Order::Greater,
            Kind::Sign(">=") => Order::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(order)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.tokens[self.next].kind, Kind::Sign(found) if found == sign);
        self.next += usize::from(is_there);
        is_there
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self.tokens[self.next].kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let is_there = self.is_keyword(keyword);
        self.next += usize::from(is_there);
        is_there
    }

    fn take_text(&mut self) -> Result<String, Error> {
        match &self.tokens[self.next].kind {
            Kind::Text(text) => {
                let text = text.clone();
                self.next += 1;
                Ok(text)
            }
            _ => Err(self.unexpected("a 'text'")),
        }
    }

    /// The byte at which the next word begins.
    fn start(&self) -> usize {
        self.tokens[self.next].start
    }

    fn deepen(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::TooDeep { position: position(self.text, self.start()), depth_max: DEPTH_MAX });
        }
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        let found = match &self.tokens[self.next].kind {
            Kind::Word(word) => (*word).to_owned(),
            Kind::Text(text) => format!("'{text}'"),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::Sign(sign) => (*sign).to_owned(),
            Kind::End => "the end".to_owned(),
        };
        Error::Syntax { position: position(self.text, self.start()), expected, found }
    }

    fn operand(&self, start: usize, problem: &'static str) -> Error {
        Error::Operand { position: position(self.text, start), problem }
    }
}

impl Expression {
    /// Whether its value is true, false or unknown.
    fn is_condition(&self) -> bool {
        match self {
            Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::Property(_) | Self::Negate(_) => false,
            Self::Null
            | Self::Bool(_)
            | Self::Truth(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::IsNull(_)
            | Self::Equal(..)
            | Self::Order(..)
            | Self::Match { .. }
            | Self::In { .. } => true,
        }
    }
}

/// The negative of a literal is a literal.
fn negate(expression: Expression) -> Expression {
    match expression {
        Expression::Int(value) => Expression::Int(value.saturating_neg()),
        Expression::Float(value) => Expression::Float(-value),
        _ => Expression::Negate(Box::new(expression)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bounds that differ only beyond 2^53 may pass the check")]
fn is_descending(low: &Expression, high: &Expression) -> bool {
    match (low, high) {
        (Expression::Int(low), Expression::Int(high)) => high < low,
        (Expression::Int(low), Expression::Float(high)) => *high < *low as f64,
        (Expression::Float(low), Expression::Int(high)) => (*high as f64) < *low,
        (Expression::Float(low), Expression::Float(high)) => high < low,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
