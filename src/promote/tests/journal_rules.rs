//! The state machine: what may follow what, and what the journal refuses.

use std::sync::Arc;

use super::super::*;
use super::world::*;

async fn clean() -> Vec<Event> {
    let lab = Lab::new().await;
    let process = lab.process(None);
    let id = process.start().await.unwrap().unwrap().promotion;
    process.settle().await.unwrap();
    process.promotions.events(&id, None).unwrap().past
}

/// Every pair of a real prefix and a real record: only the true next record (and a few that are harmless) may follow.
#[tokio::test(start_paused = true)]
async fn a_journal_follows_only_one_path() {
    let events = clean().await;
    let entries: Vec<_> = events.iter().map(|e| e.record.entry.clone()).collect();
    for cut in 0..=entries.len() {
        let state = State::replay(entries.iter().take(cut)).unwrap();
        for (at, entry) in entries.iter().enumerate() {
            let may = next_state(&state, entry).is_ok();
            if at == cut {
                assert!(may, "{} follows at {cut}", entry.name());
            }
            let past =
                at < cut && matches!(entry, Entry::Intent { .. } | Entry::Outcome { .. } | Entry::Settled { .. });
            if past {
                assert!(!may, "{} of record {at} again at {cut}", entry.name());
            }
            let behind = matches!(entry, Entry::Completed { .. }) && at > cut;
            assert!(!(behind && may), "completed early, at {cut}");
        }
    }
    let done = State::replay(&entries).unwrap();
    assert_eq!(done.stage, Stage::Completed);
    let refusal = Entry::Refused { why: "late".into(), gate: None, by: None };
    assert!(next_state(&done, &refusal).unwrap_err().to_string().contains("it is over"));
}

#[tokio::test(start_paused = true)]
async fn behind_the_fence_nothing_refuses_and_before_it_nothing_holds() {
    let entries: Vec<_> = clean().await.into_iter().map(|e| e.record.entry).collect();
    let refused = Entry::Refused { why: String::new(), gate: None, by: None };
    let held = Entry::Held { why: String::new(), step: None, by: None };
    let mut state = State::default();
    for entry in &entries[..entries.len() - 1] {
        state = next_state(&state, entry).unwrap();
        assert_eq!(next_state(&state, &refused).is_ok(), !state.fenced());
        assert_eq!(next_state(&state, &held).is_ok(), state.fenced());
        assert!(next_state(&state, &entries[0]).is_err(), "requested twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_is_never_overwritten_and_a_hole_is_noticed() {
    let events = clean().await;
    let lab = Lab::new().await;
    let authority = IndexAuthority(Arc::new(lab.index()));
    let used = KeyRecord { promotion: "p".into(), request_hash: "h".into() };
    let record = |at: usize| events[at].record.clone();
    authority.begin("p", "k", &used, &[record(0)]).await.unwrap();
    assert_eq!(authority.used("k").unwrap(), Some(used));
    assert_eq!(authority.used("other").unwrap(), None);
    authority.append("p", 1, &record(1)).await.unwrap();
    authority.append("p", 1, &record(1)).await.expect("the same again is the same");
    assert!(matches!(authority.append("p", 1, &record(2)).await, Err(AuthorityError::Taken { seq: 1, .. })));
    assert_eq!(authority.journals().unwrap()["p"], [record(0), record(1)]);
    authority.append("p", 3, &record(3)).await.unwrap();
    assert!(matches!(authority.journals(), Err(AuthorityError::Hole { seq: 2, .. })));
}

/// The bytes are released: a change here would make journals in the field unreadable.
#[test]
fn the_record_format_never_changes() {
    let record = JournalRecord {
        at: When(base()),
        entry: Entry::Outcome { step: "db".into(), attempt: 2, result: ActResult::Unknown("timed out".into()) },
    };
    let json = r#"{"at":"2026-11-23T14:00:00.000Z","event":"outcome","step":"db","attempt":2,"result":{"result":"unknown","detail":"timed out"}}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), json);
    assert_eq!(serde_json::from_str::<JournalRecord>(json).unwrap(), record);
    let settled = Entry::Settled { step: "db".into(), end: End::Started };
    assert_eq!(serde_json::to_string(&settled).unwrap(), r#"{"event":"settled","step":"db","end":{"end":"started"}}"#);
    let resumed: Entry = serde_json::from_str(r#"{"event":"resumed","by":null,"plan":null}"#).unwrap();
    assert!(matches!(resumed, Entry::Resumed { done, again, .. } if done.is_empty() && again.is_empty()));
}
