//! Which rules speak about one action, in the order of their text.
use crate::compile::{Compiled, Group, Rule};
use crate::schema::{request_of, Asked};
use cedar_policy::{AuthorizationError, Authorizer, PolicySet};

pub enum Spoken<'a> {
    Matched(&'a Rule),
    /// It could not be evaluated: whoever asks must refuse.
    Failed(&'a Rule),
}

const MOST_ALONE: usize = 2; // more at once are cheaper together with their whole group

/// The sets that must be asked of a group, given which of its guards hold.
fn sets_of<'a>(rules: &'a Compiled, group: &'a Group, asked: &Asked, out: &mut Vec<&'a PolicySet>) {
    let holds = |index: &&usize| rules.rules[**index].guard.as_ref().is_none_or(|g| g.holds(asked));
    let held: Vec<&usize> = group.guarded.iter().filter(holds).take(MOST_ALONE + 1).collect();
    if held.len() > MOST_ALONE {
        return out.push(&group.all);
    }
    if group.unguarded.num_of_policies() > 0 {
        out.push(&group.unguarded);
    }
    out.extend(held.into_iter().map(|index| &rules.rules[*index].alone));
}

/// None when the request itself could not be put to Cedar.
pub fn evaluate<'a>(rules: &'a Compiled, asked: &Asked) -> Option<Vec<Spoken<'a>>> {
    let mut sets = Vec::new();
    sets_of(rules, &rules.any, asked, &mut sets);
    if let Some(group) = rules.by_action.get(asked.action) {
        sets_of(rules, group, asked, &mut sets);
    }
    if sets.is_empty() {
        return Some(Vec::new());
    }
    let (request, entities) = request_of(asked)?;
    let authorizer = Authorizer::new();
    let mut spoken: Vec<(usize, Spoken)> = Vec::new();
    for set in sets {
        // All are `forbid`: the reasons are those that are satisfied.
        let response = authorizer.is_authorized(&request, set, &entities);
        for id in response.diagnostics().reason() {
            let index = *rules.index_of.get(id)?;
            spoken.push((index, Spoken::Matched(&rules.rules[index])));
        }
        for error in response.diagnostics().errors() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            let index = *rules.index_of.get(error.policy_id())?;
            spoken.push((index, Spoken::Failed(&rules.rules[index])));
        }
    }
    spoken.sort_by_key(|(index, _)| *index);
    Some(spoken.into_iter().map(|(_, s)| s).collect())
}
