//! The Cedar schema of what rules may ask about, and the values of one request in it.
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
    Schema,
};
use std::collections::{BTreeSet, HashSet};
use std::str::FromStr;
use std::sync::{LazyLock, OnceLock};

/// One action that is judged. Amounts are whole tokens; the `_e4` are ten-thousandths.
pub struct Asked<'a> {
    pub action: &'a str,
    pub capability: &'a str,
    pub tenant: &'a str,
    pub user: &'a str,
    pub capabilities: Vec<&'a str>,
    pub session: &'a str,
    pub model: &'a str,
    pub mode: &'a str,
    pub tool_category: &'a str,
    pub risk_e4: i64,
    pub confidence_e4: i64,
    pub score_e4: i64,
    pub budget_required: i64,
    pub budget_remaining: Option<i64>,
    pub requires_human: bool,
}

const TYPES: &str = r#"
entity User { tenant: String, capabilities: Set<String> };
entity Tenant { tenant: String };
entity Session { tenant: String };
entity Tool { tenant: String, category: String };
"#;

const APPLIES: &str = r#" appliesTo {
  principal: User,
  resource: [Tenant, Session, Tool],
  context: {
    capability: String,
    mode: String,
    model: String,
    tool_category: String,
    risk_score: decimal,
    confidence: decimal,
    score: decimal,
    budget_required: Long,
    budget_remaining?: Long,
    requires_human: Bool,
  }
};
"#;

/// Actions are open: those that the rules name are declared, and "" for every other.
pub fn schema_for(actions: &BTreeSet<String>) -> Option<Schema> {
    let mut text = String::from(TYPES);
    text.push_str("action \"\"");
    for action in actions.iter().filter(|a| !a.is_empty()) {
        text.push_str(", \"");
        text.extend(action.escape_default());
        text.push('"');
    }
    text.push_str(APPLIES);
    Schema::from_cedarschema_str(&text).ok().map(|(schema, _)| schema)
}

// Parsed once: a name costs more to parse than a rule to evaluate.
struct Kinds {
    user: EntityTypeName,
    tenant: EntityTypeName,
    session: EntityTypeName,
    tool: EntityTypeName,
    action: EntityTypeName,
}

static KINDS: LazyLock<Option<Kinds>> = LazyLock::new(|| {
    let kind = |name| EntityTypeName::from_str(name).ok();
    Some(Kinds {
        user: kind("User")?,
        tenant: kind("Tenant")?,
        session: kind("Session")?,
        tool: kind("Tool")?,
        action: kind("Action")?,
    })
});

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn string(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_string())
}

// To make a decimal Cedar parses the name of its constructor; those from 0 to 1 are made once.
static UNIT: LazyLock<Vec<OnceLock<RestrictedExpression>>> =
    LazyLock::new(|| (0..=10_000).map(|_| OnceLock::new()).collect());

fn decimal(e4: i64) -> RestrictedExpression {
    match usize::try_from(e4).ok().and_then(|i| UNIT.get(i)) {
        Some(made) => made.get_or_init(|| new_decimal(e4)).clone(),
        None => new_decimal(e4),
    }
}

fn new_decimal(e4: i64) -> RestrictedExpression {
    let sign = if e4 < 0 { "-" } else { "" };
    let e4 = e4.unsigned_abs();
    RestrictedExpression::new_decimal(format!("{sign}{}.{:04}", e4 / 10_000, e4 % 10_000))
}

fn entity(id: EntityUid, attributes: Vec<(&str, RestrictedExpression)>) -> Option<Entity> {
    let attributes = attributes.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
    Entity::new(id, attributes, HashSet::new()).ok()
}

/// None when Cedar refuses a value; the caller then denies.
pub fn request_of(asked: &Asked) -> Option<(Request, Entities)> {
    let kinds = KINDS.as_ref()?;
    let user = uid(&kinds.user, asked.user);
    let tenant = || ("tenant", string(asked.tenant));
    let capabilities = RestrictedExpression::new_set(asked.capabilities.iter().map(|c| string(c)));
    let principal = entity(user.clone(), vec![tenant(), ("capabilities", capabilities)])?;
    let resource = if !asked.tool_category.is_empty() {
        let category = ("category", string(asked.tool_category));
        (uid(&kinds.tool, asked.action), vec![tenant(), category])
    } else if !asked.session.is_empty() {
        (uid(&kinds.session, asked.session), vec![tenant()])
    } else {
        (uid(&kinds.tenant, asked.tenant), vec![tenant()])
    };
    let target = resource.0.clone();
    let resource = entity(resource.0, resource.1)?;
    let mut context = vec![
        ("capability", string(asked.capability)),
        ("mode", string(asked.mode)),
        ("model", string(asked.model)),
        ("tool_category", string(asked.tool_category)),
        ("risk_score", decimal(asked.risk_e4)),
        ("confidence", decimal(asked.confidence_e4)),
        ("score", decimal(asked.score_e4)),
        ("budget_required", RestrictedExpression::new_long(asked.budget_required)),
        ("requires_human", RestrictedExpression::new_bool(asked.requires_human)),
    ];
    if let Some(remaining) = asked.budget_remaining {
        context.push(("budget_remaining", RestrictedExpression::new_long(remaining)));
    }
    let context =
        Context::from_pairs(context.into_iter().map(|(k, v)| (k.to_string(), v))).ok()?;
    let request =
        Request::new(user, uid(&kinds.action, asked.action), target, context, None).ok()?;
    Some((request, Entities::from_entities([principal, resource], None).ok()?))
}
