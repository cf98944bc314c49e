//! `[[store]]`: what is kept warm. The keys of its kind are read by the kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::duration::words;
use super::keys::{STORE_ID, STORE_KIND, STORE_MODE, STORE_RPO};
use super::places::{Place, clashes};
use super::problem::{nearest, show_text};
use super::section::Section;
use super::{Region, StoreConfig};
use crate::change::StoreId;
use crate::stores::{KINDS, Kind, kind};

pub(super) fn read(
    mut sections: Vec<Section<'_>>,
    app_rpo: Duration,
    primary: Option<&Region>,
    standby: Option<&Region>,
) -> Vec<StoreConfig> {
    let mut lines: BTreeMap<StoreId, Option<usize>> = BTreeMap::new();
    let mut stores = Vec::new();
    let mut places = Vec::new();
    let mut channels: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for (at, section) in sections.iter_mut().enumerate() {
        let id = id(section, &mut lines);
        let kind = kind_of(section);
        let mode = section.text(&STORE_MODE);
        let rpo = section.opt_duration(&STORE_RPO).unwrap_or(app_rpo);
        // The keys of an unknown kind cannot be judged; that the kind is wrong was said.
        let Some(kind) = kind else { continue };
        known.insert(at);
        if let Some(mode) = &mode
            && let Err(why) = (kind.supports)(mode)
        {
            section.problem(&STORE_MODE, format!("a store of kind {:?} has no mode {mode:?}", kind.name), why);
        }
        let Some(settings) = (kind.read)(section) else { continue };
        let floor = settings.floor();
        if rpo < floor {
            section.warn(
                &STORE_RPO,
                format!(
                    "an objective of {} is below the {} that an idle store can prove here, so it would be breached while \
                     nothing is wrong",
                    words(rpo),
                    words(floor)
                ),
                format!("set rpo = \"{}\" or more, or lower what the floor is made of: {}", words(floor), settings.floor_words()),
            );
        }
        let label = id.as_ref().map_or_else(|| format!("store[{at}]"), |id| format!("store \"{id}\""));
        for channel in settings.channels() {
            match channels.get(&channel) {
                Some((other, whose)) if *other != at => {
                    let queue = show_text(&channel);
                    let what = format!("reads {queue}, as {whose} does: each would take the other's messages away");
                    section.problem_here(what, "give each store a queue of its own");
                }
                _ => drop(channels.insert(channel, (at, label.clone()))),
            }
        }
        if let (Some(x), Some(y)) = (primary, standby) {
            let (source, target) = settings.ends();
            places.push((at, label, Place::new(kind.name, x, source), Place::new(kind.name, y, target)));
        }
        if let (Some(id), Some(mode)) = (id, mode) {
            stores.push(StoreConfig { id, kind: kind.name, mode, rpo, settings });
        }
    }
    for (at, what, hint) in clashes(&places) {
        sections[at].problem_here(what, hint);
    }
    for (_, section) in sections.into_iter().enumerate().filter(|(at, _)| known.contains(at)) {
        section.finish();
    }
    stores
}

fn id(section: &mut Section<'_>, lines: &mut BTreeMap<StoreId, Option<usize>>) -> Option<StoreId> {
    let text = section.text(&STORE_ID)?;
    let Ok(id) = StoreId::new(&text) else {
        section.problem(&STORE_ID, "cannot be an id", "write 1 to 63 of a-z, 0-9, '-' and '_'");
        return None;
    };
    if let Some(first) = lines.get(&id) {
        section.problem(&STORE_ID, super::steps::second("store", *first), "give every store an id of its own");
        return None;
    }
    lines.insert(id.clone(), section.line());
    section.name(&text);
    Some(id)
}

fn kind_of(section: &mut Section<'_>) -> Option<&'static Kind> {
    let name = section.text(&STORE_KIND)?;
    let found = kind(&name);
    if found.is_none() {
        let known = KINDS.iter().map(|kind| format!("{:?}", kind.name)).collect::<Vec<_>>().join(", ");
        let hint = match nearest(&name, KINDS.iter().map(|kind| kind.name)) {
            Some(meant) => format!("did you mean {meant:?}? known kinds: {known}"),
            None => format!("known kinds: {known}"),
        };
        section.problem(&STORE_KIND, "unknown kind", hint);
    }
    found
}
