//! `[promote]`: the operator's own steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::key::Key;
use super::keys::{
    CATCH_UP, COMMAND_CHECK, COMMAND_REPEAT, COMMAND_RUN, PROBE_STATUS, PROBE_URL, STEP_DEADLINE, STEP_ID, STEP_KIND,
    STEP_NEEDS, STEP_REQUIRED, STEPS,
};
use super::problem::{nearest, show_text};
use super::section::Section;
use super::{Promote, StepConfig, StepKind};
use crate::change::StoreId;
use crate::promote::{Repeat, StepId, plan};

/// Steps of every promotion, whose journal keys they own.
const BUILT_IN: [&str; 2] = [plan::CATCH_UP, plan::FENCE];

/// A recovery of more steps is not one that a human can follow; it also bounds the search for circles.
const MAX_STEPS: usize = 256;

pub(super) fn read(mut section: Section<'_>) -> Promote {
    let catch_up = section.duration(&CATCH_UP);
    let mut sections = section.tables(&STEPS);
    if sections.len() > MAX_STEPS {
        section.problem(&STEPS, format!("more than {MAX_STEPS} steps"), "let one command carry out several of them");
        sections.truncate(MAX_STEPS);
    }
    section.finish();

    // Ids first, so that `needs` may name a later step.
    let mut lines: BTreeMap<String, Option<usize>> = BTreeMap::new();
    let ids: Vec<Option<String>> = sections.iter_mut().map(|section| id(section, &mut lines)).collect();
    let needs: Vec<Vec<String>> = sections.iter_mut().map(|section| needs(section, &lines)).collect();
    for (at, section) in sections.iter_mut().enumerate() {
        if let Some(id) = &ids[at]
            && let Some(circle) = circle(id, &ids, &needs)
        {
            let what = format!("waits for itself: {}", circle.join(" needs "));
            section.problem(&STEP_NEEDS, what, "take one of them out of needs");
        }
    }

    let mut steps = Vec::new();
    for ((mut section, id), needs) in sections.into_iter().zip(ids).zip(needs) {
        let what = what(&mut section);
        let required = section.flag(&STEP_REQUIRED);
        let deadline = section.duration(&STEP_DEADLINE);
        // The keys of an unknown kind cannot be judged; that the kind is wrong was said.
        if what.known {
            section.finish();
        }
        if let (Some(id), Some(what)) = (id, what.kind) {
            let needs = needs.into_iter().map(|need| StepId(need.into())).collect();
            steps.push(StepConfig { id: StepId(Arc::from(id)), needs, required, deadline, what });
        }
    }
    Promote { catch_up, steps }
}

fn id(section: &mut Section<'_>, lines: &mut BTreeMap<String, Option<usize>>) -> Option<String> {
    let id = section.text(&STEP_ID)?;
    // Step ids stand in URLs and journal keys, as store ids do.
    if StoreId::new(&id).is_err() {
        section.problem(&STEP_ID, "cannot be an id", "write 1 to 63 of a-z, 0-9, '-' and '_'");
        return None;
    }
    if BUILT_IN.contains(&id.as_str()) {
        section.problem(&STEP_ID, "the id of a step that every promotion has", "give yours another id");
        return None;
    }
    if let Some(first) = lines.get(&id) {
        section.problem(&STEP_ID, second("step", *first), "give every step an id of its own");
        return None;
    }
    lines.insert(id.clone(), section.line());
    section.name(&id);
    Some(id)
}

/// `a second step of this id; the first is in line 12`.
pub(super) fn second(what: &str, first: Option<usize>) -> String {
    match first {
        Some(line) => format!("a second {what} of this id; the first is in line {line}"),
        None => format!("a second {what} of this id"),
    }
}

fn needs(section: &mut Section<'_>, known: &BTreeMap<String, Option<usize>>) -> Vec<String> {
    let needs = section.texts(&STEP_NEEDS).unwrap_or_default();
    for need in needs.iter().filter(|need| !known.contains_key(*need)) {
        let hint = match nearest(need, known.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None if BUILT_IN.contains(&need.as_str()) => "leave it out: it is always done first".to_owned(),
            None => "needs takes ids of other [[promote.step]] tables".to_owned(),
        };
        section.problem(&STEP_NEEDS, format!("no step of yours has the id {}", show_text(need)), hint);
    }
    needs
}

/// The way from a step back to itself, if there is one: `[a, b, a]`. Breadth first, so the shortest.
fn circle(start: &str, ids: &[Option<String>], needs: &[Vec<String>]) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(here) = open.pop_front() {
        let Some(at) = ids.iter().position(|id| id.as_deref() == Some(here)) else { continue };
        for need in &needs[at] {
            if need == start {
                let mut way = vec![start.to_owned()];
                let mut step = Some(here);
                while let Some(name) = step.filter(|name| *name != start) {
                    way.push(name.to_owned());
                    step = came_from.get(name).copied();
                }
                way.push(start.to_owned());
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(need.as_str()) {
                came_from.insert(need, here);
                open.push_back(need);
            }
        }
    }
    None
}

struct What {
    known: bool,
    kind: Option<StepKind>,
}

fn what(section: &mut Section<'_>) -> What {
    match section.text(&STEP_KIND).as_deref() {
        Some("command") => What { known: true, kind: command(section) },
        Some("http-probe") => What { known: true, kind: probe(section) },
        _ => What { known: false, kind: None },
    }
}

fn command(section: &mut Section<'_>) -> Option<StepKind> {
    let run = program(section, &COMMAND_RUN);
    let check = program(section, &COMMAND_CHECK);
    let repeat = section.text(&COMMAND_REPEAT);
    let repeat = match (section.has(&COMMAND_CHECK), repeat.as_deref()) {
        (true, None) => Repeat::Checked,
        (true, Some(_)) => {
            section.problem(
                &COMMAND_REPEAT,
                "given beside check",
                "keep one of them: check can tell whether it was done",
            );
            Repeat::Checked
        }
        (false, Some("safe")) => Repeat::Safe,
        (false, Some(_)) => Repeat::Never,
        (false, None) => {
            if !section.has(&COMMAND_REPEAT) {
                section.problem_here(
                    "nobody could tell after a crash whether the command was run",
                    "add check = [\"program\", \"argument\"] (exit 0: done, 1: not started), or repeat = \"safe\" if it may run \
                     twice, or repeat = \"never\" to hold for a human",
                );
            }
            Repeat::Never
        }
    };
    Some(StepKind::Command { run: run?, check, repeat })
}

fn program(section: &mut Section<'_>, key: &'static Key) -> Option<Vec<String>> {
    let words = section.texts(key)?;
    let named = words.first().is_some_and(|program| !program.trim().is_empty());
    if !named || words.iter().any(|word| word.contains('\0')) {
        section.problem(key, "names no program", key.how());
        return None;
    }
    Some(words)
}

fn probe(section: &mut Section<'_>) -> Option<StepKind> {
    let url = section.text(&PROBE_URL);
    let status = section.integer(&PROBE_STATUS);
    let url = url?;
    let fits = reqwest::Url::parse(&url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
    if !fits {
        section.problem(&PROBE_URL, "not an http:// or https:// URL", PROBE_URL.how());
        return None;
    }
    Some(StepKind::HttpProbe { url, expect_status: u16::try_from(status).unwrap_or(200) })
}
