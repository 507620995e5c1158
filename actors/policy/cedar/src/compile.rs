//! From a text to rules that can be evaluated, or to what is wrong with it and where.
use crate::guard::Guard;
use crate::schema::schema_for;
use cedar_policy::{ActionConstraint, Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;

pub const MAX_BYTES: usize = 256 * 1024;
pub const MAX_RULES: usize = 2_000;
const MAX_ISSUES: usize = 100;
const MAX_RULE_BYTES: usize = 4 * 1024;
const MAX_DEPTH: usize = 32; // of brackets
const STACK: usize = 256 * 1024 * 1024; // reserved, not used: Cedar's compiler recurses
const MAX_ID: usize = 64;
const MAX_REASON: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

pub struct Rule {
    pub id: String,
    pub review: bool,
    pub reason: String,
    pub text: String,
    pub guard: Option<Guard>,
    pub alone: PolicySet, // this rule and no other
    actions: Option<Vec<String>>, // that its scope names; None: any
}

impl Rule {
    pub fn fits(&self, action: &str) -> bool {
        self.actions.as_ref().is_none_or(|a| a.iter().any(|name| name == action))
    }
}

/// Rules that are asked together: all whose scope names the same action, or none.
#[derive(Default)]
pub struct Group {
    pub guarded: Vec<usize>,
    pub unguarded: PolicySet,
    pub all: PolicySet,
}

/// Rules in the order of the text, and grouped.
#[derive(Default)]
pub struct Compiled {
    pub rules: Vec<Rule>,
    pub index_of: HashMap<PolicyId, usize>,
    pub any: Group,
    pub by_action: HashMap<String, Group>,
}

impl Group {
    fn add(&mut self, policy: &Policy, index: usize, guarded: bool) -> Option<()> {
        if guarded {
            self.guarded.push(index);
        } else {
            self.unguarded.add(policy.clone()).ok()?;
        }
        self.all.add(policy.clone()).ok()
    }
}

struct Places<'a> {
    text: &'a str,
    starts: Vec<usize>, // of lines
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Places { text, starts }
    }
    fn issue(&self, offset: usize, message: String) -> Issue {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|s| *s <= offset);
        let before = self.text.as_bytes()[self.starts[line - 1]..offset].iter();
        let column = 1 + before.filter(|b| (**b & 0xC0) != 0x80).count();
        Issue { line, column, message }
    }
    fn of(&self, error: &dyn Diagnostic) -> Issue {
        let label = error.labels().and_then(|mut l| l.next());
        let mut message = error.to_string();
        if let Some(help) = error.help() {
            message = format!("{message} ({help})");
        }
        self.issue(label.map_or(0, |l| l.offset()), message)
    }
}

fn names_in(value: &serde_json::Value, out: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|v| names_in(v, out)),
        serde_json::Value::Object(members) => {
            let is = |v: Option<&serde_json::Value>| v.and_then(|t| t.as_str()) == Some("Action");
            if is(members.get("type")) {
                if let Some(id) = members.get("id").and_then(|id| id.as_str()) {
                    out.insert(id.to_string());
                }
            }
            members.values().for_each(|v| names_in(v, out));
        }
        _ => {}
    }
}

fn id_problem(id: Option<&str>) -> Option<String> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    match id {
        Some(id) if (1..=MAX_ID).contains(&id.len()) && id.chars().all(ok) => None,
        _ => Some(format!(
            "every rule needs @id(\"name\"), of 1 to {MAX_ID} letters, digits, `_`, `.` or `-`: decisions name it"
        )),
    }
}

fn annotation_problem(policy: &Policy) -> Option<String> {
    if policy.effect() == Effect::Permit {
        return Some(
            "rules only make decisions stricter, so `permit` would change nothing; \
             write forbid(...) unless {...}"
                .to_string(),
        );
    }
    for (name, value) in policy.annotations() {
        match name {
            "id" => {}
            "effect" if value == "deny" || value == "review" => {}
            "effect" => return Some("@effect must be \"deny\" or \"review\"".to_string()),
            "reason" if value.chars().any(char::is_control) || value.len() > MAX_REASON => {
                return Some(format!("@reason must be one line of at most {MAX_REASON} bytes"))
            }
            "reason" => {}
            _ => return Some(format!("unknown annotation @{name}; there are @id, @effect, @reason")),
        }
    }
    id_problem(policy.annotation("id"))
}

fn scope_actions(policy: &Policy) -> Option<Vec<String>> {
    match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(vec![uid.id().unescaped().to_string()]),
        ActionConstraint::In(uids) => {
            Some(uids.iter().map(|u| u.id().unescaped().to_string()).collect())
        }
    }
}

/// Cedar numbers what it parses: policy0, policy1, …
fn in_order(set: &PolicySet) -> Vec<Policy> {
    let number = |p: &Policy| p.id().to_string()["policy".len()..].parse::<usize>().unwrap_or(0);
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    policies.sort_by_key(number);
    policies
}

// Rules that name the same actions are validated together, with just these declared: the cost stays
// linear in the number of rules.
fn validate(policies: &[Policy], places: &Places, issues: &mut Vec<Issue>) {
    let mut groups: BTreeMap<BTreeSet<String>, PolicySet> = BTreeMap::new();
    for policy in policies {
        let mut names = BTreeSet::new();
        if let Ok(json) = policy.to_json() {
            names_in(&json, &mut names);
        }
        names.extend(scope_actions(policy).unwrap_or_default());
        let _ = groups.entry(names).or_default().add(policy.clone());
    }
    for (names, set) in groups {
        let Some(schema) = schema_for(&names) else {
            issues.push(places.issue(0, format!("an action's name cannot be used: {names:?}")));
            continue;
        };
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        issues.extend(result.validation_errors().map(|e| places.of(e)));
    }
}

fn build(policies: Vec<Policy>) -> Option<Compiled> {
    let mut out = Compiled::default();
    for (index, policy) in policies.into_iter().enumerate() {
        let actions = scope_actions(&policy);
        let guard = policy.to_json().ok().and_then(|json| Guard::of(&json));
        let names: HashSet<&String> = actions.iter().flatten().collect();
        for name in names {
            out.by_action.entry(name.clone()).or_default().add(&policy, index, guard.is_some())?;
        }
        if actions.is_none() {
            out.any.add(&policy, index, guard.is_some())?;
        }
        out.index_of.insert(policy.id().clone(), index);
        let annotation = |name| policy.annotation(name).unwrap_or_default().to_string();
        let mut rule = Rule {
            id: annotation("id"),
            review: annotation("effect") == "review",
            reason: annotation("reason"),
            text: policy.to_cedar()?,
            guard,
            alone: PolicySet::new(),
            actions,
        };
        rule.alone.add(policy).ok()?;
        out.rules.push(rule);
    }
    Some(out)
}

/// Where a rule is too long or its brackets too deep: Cedar recurses over both.
fn excess(text: &str) -> Option<usize> {
    let (mut depth, mut start, mut quoted, mut i) = (0usize, 0usize, false, 0usize);
    let bytes = text.as_bytes();
    while i < bytes.len() {
        match bytes[i] {
            b'\\' if quoted => i += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'/' if bytes.get(i + 1) == Some(&b'/') => {
                let line = bytes[i..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - i);
                start += line; // comments do not count
                i += line;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' => start = i,
            _ => {}
        }
        if depth > MAX_DEPTH || (i > start && i - start > MAX_RULE_BYTES) {
            return Some(i.min(text.len()));
        }
        i += 1;
    }
    None
}

fn parse(text: &str, places: &Places) -> Result<PolicySet, Vec<Issue>> {
    if text.len() > MAX_BYTES {
        return Err(vec![places.issue(0, format!("the rules are over {} KiB", MAX_BYTES / 1024))]);
    }
    if let Some(at) = excess(text) {
        let message = format!("a rule is over {} KiB or {MAX_DEPTH} brackets deep", MAX_RULE_BYTES / 1024);
        return Err(vec![places.issue(at, message)]);
    }
    let set = PolicySet::from_str(text).map_err(|errors| {
        let mut issues = vec![places.of(&errors)];
        issues.extend(errors.related().into_iter().flatten().map(|e| places.of(e)));
        issues
    })?;
    let count = set.num_of_policies() + set.num_of_templates();
    if count > MAX_RULES {
        return Err(vec![places.issue(0, format!("{count} rules; at most {MAX_RULES}"))]);
    }
    if set.num_of_templates() > 0 {
        let slot = text.find("?principal").or(text.find("?resource")).unwrap_or(0);
        return Err(vec![places.issue(slot, "templates (?principal, ?resource) are not taken".into())]);
    }
    Ok(set)
}

pub fn compile(text: &str) -> Result<Compiled, Vec<Issue>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let compiled = thread.spawn_scoped(scope, || compile_here(text)).map(|t| t.join());
        match compiled {
            Ok(Ok(result)) => result,
            _ => Err(vec![Places::new(text).issue(0, "the rules cannot be compiled".to_string())]),
        }
    })
}

fn compile_here(text: &str) -> Result<Compiled, Vec<Issue>> {
    let places = Places::new(text);
    let policies = in_order(&parse(text, &places)?);
    let mut issues = Vec::new();
    let mut seen = HashSet::new();
    let mut from = 0;
    for policy in &policies {
        // What Cedar keeps of a policy's text is a part of ours, in the same order.
        let own = policy.to_cedar().unwrap_or_default();
        let at = text[from..].find(&own).map_or(from, |i| from + i);
        from = (at + own.len()).min(text.len());
        if let Some(problem) = annotation_problem(policy) {
            issues.push(places.issue(at, problem));
        } else if !seen.insert(policy.annotation("id").unwrap_or_default().to_string()) {
            let id = policy.annotation("id").unwrap_or_default();
            issues.push(places.issue(at, format!("two rules have the @id {id}")));
        }
    }
    validate(&policies, &places, &mut issues);
    if !issues.is_empty() {
        issues.sort();
        issues.dedup();
        issues.truncate(MAX_ISSUES);
        return Err(issues);
    }
    build(policies).ok_or_else(|| vec![places.issue(0, "the rules cannot be indexed".to_string())])
}
