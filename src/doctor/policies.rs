//! The least that the configured stores need, as IAM policies with their names filled in.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::Config;
use crate::stores::IamPolicy;

/// The policies by role. `ACCOUNT` is left in: the configuration does not know it.
pub fn policies(config: &Config) -> BTreeMap<&'static str, Value> {
    let mut roles: BTreeMap<&'static str, (IamPolicy, Vec<String>)> = BTreeMap::new();
    for store in &config.stores {
        for policy in store.settings.policies() {
            for name in store.settings.names(policy) {
                let (_, names) = roles.entry(policy.role).or_insert_with(|| (*policy, Vec::new()));
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    let filled = roles.into_iter().map(|(role, (policy, names))| (role, fill(&policy, &names, config)));
    filled.filter_map(|(role, policy)| Some((role, policy?))).collect()
}

/// `None` for a text that is no JSON, which a test forbids.
fn fill(policy: &IamPolicy, names: &[String], config: &Config) -> Option<Value> {
    let text = policy.text.replace("REGION_X", &config.primary.region).replace("REGION_Y", &config.standby.region);
    let mut document: Value = serde_json::from_str(&text).ok()?;
    for statement in document.get_mut("Statement")?.as_array_mut()? {
        let Some(resource) = statement.get_mut("Resource") else { continue };
        let templates: Vec<String> = match resource {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => continue,
        };
        let expanded: Vec<String> = templates
            .iter()
            .flat_map(|template| match template.contains(policy.hole) {
                true => names.iter().map(|name| template.replace(policy.hole, name)).collect(),
                false => vec![template.clone()],
            })
            .collect();
        *resource = expanded.into();
    }
    Some(document)
}
