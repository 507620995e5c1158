//! The C interface. Texts in are borrowed for the call; a text out is freed with `soma_rules_free`. No
//! state but a memo, no clock, no I/O: the same arguments give the same bytes.
mod compile;
mod evaluate;
mod guard;
mod memo;
mod schema;

use evaluate::Spoken;
use schema::Asked;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// UTF-8 with its size; `data` may be null where `size` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    data: *const u8,
    size: usize,
}

#[repr(C)]
pub struct Request {
    action: Text,
    capability: Text,
    tenant: Text,
    user: Text,
    session: Text,
    model: Text,
    mode: Text,
    tool_category: Text,
    capabilities: *const Text,
    capability_count: usize,
    risk_e4: i64,
    confidence_e4: i64,
    score_e4: i64,
    budget_required: i64,
    budget_remaining: i64,
    has_budget_remaining: bool,
    requires_human: bool,
}

impl Text {
    // Safety: as the header says, `data` holds `size` bytes for the whole call.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(self.data, self.size)
        }
    }
    unsafe fn str<'a>(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()).ok()
    }
}

/// Strings one after another, each with its size before it (32 bits, little-endian).
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    fn one(text: &str) -> Self {
        Answer::default().with(text)
    }
    fn with(mut self, text: &str) -> Self {
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }
    fn give(self) -> Text {
        let bytes = self.0.into_boxed_slice();
        let size = bytes.len();
        Text { data: Box::into_raw(bytes).cast::<u8>(), size }
    }
}

// A panic in the engine must not pass into C++: it is an answer that refuses.
fn guarded(act: impl FnOnce() -> Option<Answer>) -> Text {
    let answer = catch_unwind(AssertUnwindSafe(act)).unwrap_or(None);
    answer.unwrap_or_else(|| Answer::one("invalid")).give()
}

/// What is wrong with a set: triples of line, column, message; nothing when it is valid.
///
/// # Safety
/// As `Text`.
#[no_mangle]
pub unsafe extern "C" fn soma_rules_check(text: Text) -> Text {
    let checked = catch_unwind(|| {
        let Some(set) = memo::compiled(text.bytes()) else {
            return Answer::one("1").with("1").with("the rules are not UTF-8");
        };
        let mut answer = Answer::default();
        if let Err(issues) = &*set {
            for i in issues {
                answer = answer.with(&i.line.to_string()).with(&i.column.to_string()).with(&i.message);
            }
        }
        answer
    });
    match checked {
        Ok(answer) => answer.give(),
        Err(_) => Answer::one("1").with("1").with("the rules cannot be compiled").give(),
    }
}

/// "ok" and the rules whose scope takes `action`, in their order; or "invalid".
///
/// # Safety
/// As `Text`.
#[no_mangle]
pub unsafe extern "C" fn soma_rules_slice(text: Text, action: Text) -> Text {
    guarded(|| {
        let action = action.str()?;
        let set = memo::compiled(text.bytes())?;
        let rules = &set.as_ref().as_ref().ok()?.rules;
        let fitting: Vec<&str> =
            rules.iter().filter(|r| r.fits(action)).map(|r| r.text.as_str()).collect();
        Some(Answer::one("ok").with(&fitting.join("\n")))
    })
}

/// "ok", then for each rule that speaks "deny", "review" or "error", its id, reason and text; or
/// "invalid": the set cannot be compiled, or the request not be asked.
///
/// # Safety
/// As `Text`; `capabilities` holds `capability_count` of them.
#[no_mangle]
pub unsafe extern "C" fn soma_rules_judge(text: Text, request: *const Request) -> Text {
    guarded(|| {
        let r = request.as_ref()?;
        let capabilities = match r.capability_count {
            0 => &[],
            n => std::slice::from_raw_parts(r.capabilities, n),
        };
        let asked = Asked {
            action: r.action.str()?,
            capability: r.capability.str()?,
            tenant: r.tenant.str()?,
            user: r.user.str()?,
            capabilities: capabilities.iter().map(|c| c.str()).collect::<Option<_>>()?,
            session: r.session.str()?,
            model: r.model.str()?,
            mode: r.mode.str()?,
            tool_category: r.tool_category.str()?,
            risk_e4: r.risk_e4,
            confidence_e4: r.confidence_e4,
            score_e4: r.score_e4,
            budget_required: r.budget_required,
            budget_remaining: r.has_budget_remaining.then_some(r.budget_remaining),
            requires_human: r.requires_human,
        };
        let set = memo::compiled(text.bytes())?;
        let mut answer = Answer::one("ok");
        for spoken in evaluate::evaluate(set.as_ref().as_ref().ok()?, &asked)? {
            let (kind, rule) = match spoken {
                Spoken::Matched(rule) if rule.review => ("review", rule),
                Spoken::Matched(rule) => ("deny", rule),
                Spoken::Failed(rule) => ("error", rule),
            };
            answer = answer.with(kind).with(&rule.id).with(&rule.reason).with(&rule.text);
        }
        Some(answer)
    })
}

/// # Safety
/// `text` came from one of the functions above and is freed once.
#[no_mangle]
pub unsafe extern "C" fn soma_rules_free(text: Text) {
    drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(text.data.cast_mut(), text.size)));
}
