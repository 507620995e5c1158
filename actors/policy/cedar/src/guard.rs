//! What a rule asks first, when that is a number of the context against a literal. Where it is not so the
//! rule cannot speak, as Cedar's `&&` ends at the first false, and need not be evaluated at all.
use crate::schema::Asked;
use serde_json::Value;

#[derive(Clone, Copy)]
enum Number {
    Risk,
    Confidence,
    Score,
}

#[derive(Clone, Copy)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

pub struct Guard {
    number: Number,
    order: Order,
    literal_e4: i64,
}

fn first_conjunct(mut body: &Value) -> &Value {
    while let Some(left) = body.get("&&").and_then(|and| and.get("left")) {
        body = left;
    }
    body
}

// As Cedar writes decimals: digits on both sides of the point, at most four behind it.
fn e4(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.')?;
    let plain = |s: &str, most| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole, 9) || !plain(part, 4) {
        return None;
    }
    let part = format!("{part:0<4}").parse::<i64>().ok()?;
    Some(sign * (whole.parse::<i64>().ok()? * 10_000 + part))
}

fn number_of(value: &Value) -> Option<Number> {
    let access = value.get(".")?;
    if access.get("left")?.get("Var")?.as_str()? != "context" {
        return None;
    }
    match access.get("attr")?.as_str()? {
        "risk_score" => Some(Number::Risk),
        "confidence" => Some(Number::Confidence),
        "score" => Some(Number::Score),
        _ => None,
    }
}

impl Guard {
    /// Of a policy in Cedar's JSON form; None where it asks for something else first.
    pub fn of(policy: &Value) -> Option<Guard> {
        let first = policy.get("conditions")?.get(0)?;
        if first.get("kind")?.as_str()? != "when" {
            return None;
        }
        let (name, arguments) = first_conjunct(first.get("body")?).as_object()?.iter().next()?;
        let order = match name.as_str() {
            "lessThan" => Order::Less,
            "lessThanOrEqual" => Order::LessOrEqual,
            "greaterThan" => Order::Greater,
            "greaterThanOrEqual" => Order::GreaterOrEqual,
            _ => return None,
        };
        let [left, right] = arguments.as_array()?.as_slice() else { return None };
        let literal = right.get("decimal")?.get(0)?.get("Value")?.as_str()?;
        Some(Guard { number: number_of(left)?, order, literal_e4: e4(literal)? })
    }

    pub fn holds(&self, asked: &Asked) -> bool {
        let value = match self.number {
            Number::Risk => asked.risk_e4,
            Number::Confidence => asked.confidence_e4,
            Number::Score => asked.score_e4,
        };
        match self.order {
            Order::Less => value < self.literal_e4,
            Order::LessOrEqual => value <= self.literal_e4,
            Order::Greater => value > self.literal_e4,
            Order::GreaterOrEqual => value >= self.literal_e4,
        }
    }
}
