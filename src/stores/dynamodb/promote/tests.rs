//! The steps of a table as pure values: which there are, what they say, and what they make of a description.

use super::settings::{Capacity, Promoting};
use super::world::{at_least, on_demand, protection, raise, stream, ttl};
use super::*;
use crate::stores::dynamodb::facts::{Index, Units};

fn client() -> Client {
    let config = aws_sdk_dynamodb::config::Builder::new()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .region(aws_sdk_dynamodb::config::Region::new("us-west-2"))
        .build();
    Client::from_conf(config)
}

fn standby(promoting: Promoting, ttl: Option<Option<&str>>) -> Standby {
    Standby {
        store: StoreId::new("orders").unwrap(),
        client: client(),
        table: "orders-y".into(),
        region: "us-west-2".into(),
        promoting,
        source: ttl.map(|ttl| Recorded { ttl: ttl.map(str::to_owned) }.text()),
    }
}

fn described(promoting: Promoting, ttl: Option<Option<&str>>) -> Vec<(String, Description)> {
    steps(&standby(promoting, ttl)).iter().map(|step| (step.id().to_string(), step.describe())).collect()
}

fn ids(promoting: Promoting, ttl: Option<Option<&str>>) -> Vec<String> {
    described(promoting, ttl).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn the_ids_of_the_steps_are_journal_keys_and_never_renamed() {
    assert_eq!(STEPS, ["answers", "ttl", "stream", "deletion-protection", "capacity"]);
    let all = Promoting { capacity: Capacity::OnDemand, ..Promoting::default() };
    let ids = ids(all, Some(Some("ends")));
    assert_eq!(ids, ["orders.answers", "orders.ttl", "orders.stream", "orders.deletion-protection", "orders.capacity"]);
}

#[test]
fn steps_are_those_that_are_configured_and_have_a_meaning() {
    let usual = Promoting::default;
    assert_eq!(ids(usual(), Some(None)), ["orders.answers", "orders.stream", "orders.deletion-protection"], "no TTL");
    assert_eq!(ids(usual(), None).len(), 4, "a TTL that was never seen shows as a step that says so");
    let none = Promoting { stream: false, deletion_protection: false, ttl: false, ..usual() };
    assert_eq!(ids(none, Some(Some("ends"))), ["orders.answers"]);
}

#[test]
fn only_the_question_is_required_and_each_waits_for_the_one_before() {
    let all = Promoting { capacity: Capacity::AtLeast { read: 10, write: 0 }, ..Promoting::default() };
    let steps = described(all, Some(Some("ends")));
    let mut before: Option<String> = None;
    for (id, d) in &steps {
        assert_eq!(d.needs.first().map(ToString::to_string), before, "{id}");
        assert_eq!(d.required, id == "orders.answers", "{id}");
        assert_eq!(d.deferred, id == "orders.ttl", "{id}");
        assert_eq!(d.phase, Phase::Databases);
        before = Some(id.clone());
    }
    let best_effort: Duration = steps.iter().filter(|(_, d)| !d.required).map(|(_, d)| d.deadline).sum();
    assert!(
        best_effort <= Duration::from_secs(8 * 60),
        "a control plane that is down must not use up an RTO of 15 min"
    );
}

#[test]
fn calls_can_be_typed() {
    let all = Promoting { capacity: Capacity::AtLeast { read: 10, write: 0 }, ..Promoting::default() };
    let calls: Vec<String> = described(all, Some(Some("ends"))).into_iter().flat_map(|(_, d)| d.calls).collect();
    let aws = "aws dynamodb";
    let table = "--region us-west-2 --table-name orders-y";
    assert_eq!(calls[0], format!("{aws} scan {table} --limit 1 --consistent-read   (check; nothing is sent)"));
    assert_eq!(
        calls[2],
        format!(
            "{aws} update-table {table} --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
        )
    );
    assert_eq!(calls[3], format!("{aws} update-table {table} --deletion-protection-enabled"));
    assert_eq!(
        calls[1],
        format!("{aws} update-time-to-live {table} --time-to-live-specification Enabled=true,AttributeName=ends")
    );
    assert!(calls[4].contains("ReadCapacityUnits=10,WriteCapacityUnits=as it is"), "{}", calls[4]);
    assert!(calls.iter().all(|call| !call.contains("us-east-1")), "prodX is not named: {calls:?}");
}

#[test]
fn a_configured_attribute_wins_over_the_recorded_one() {
    let promoting = Promoting { ttl_attribute: Some("mine".into()), ..Promoting::default() };
    for recorded in [None, Some(None), Some(Some("theirs"))] {
        let steps = described(promoting.clone(), recorded);
        let (_, d) = steps.iter().find(|(id, _)| id == "orders.ttl").expect("it is there");
        assert!(d.calls[0].ends_with("AttributeName=mine"), "{:?}", d.calls);
    }
}

#[tokio::test]
async fn a_ttl_that_was_never_seen_is_not_applicable_and_asks_nobody() {
    let steps = steps(&standby(Promoting::default(), None));
    let step = steps.iter().find(|step| step.id() == "orders.ttl".into()).expect("it is there");
    let clock = crate::seams::SystemClock::shared();
    let cx = Context { clock: clock.as_ref(), promotion: "p", attempt: 1 };
    assert!(matches!(step.check(&cx).await, Ok(World::NotApplicable(_))));
}

fn table(status: &str) -> Facts {
    Facts { status: status.into(), units: Units { read: 5, write: 5 }, ..Facts::default() }
}

/// Every step against every state of a table, with the wish fulfilled and not.
#[test]
fn every_world_of_every_step() {
    let fulfil =
        |facts: Facts| Facts { stream: Some("NEW_AND_OLD_IMAGES".into()), protected: true, on_demand: true, ..facts };
    type Judge = fn(&Facts) -> World;
    let judges: [(&str, Judge); 4] = [
        ("stream", stream),
        ("protection", protection),
        ("on demand", on_demand),
        ("at least", |facts| at_least(10, 10, facts)),
    ];
    for (name, judge) in judges {
        for status in ["ACTIVE", "UPDATING", "CREATING"] {
            let done = judge(&fulfil(table(status)));
            assert!(matches!(done, World::Done(_)), "{name} {status}: {done:?}");
        }
        assert!(matches!(judge(&table("ACTIVE")), World::NotStarted(_)), "{name}");
        for status in ["UPDATING", "CREATING"] {
            assert!(matches!(judge(&table(status)), World::InProgress(_)), "{name}: never sent while it is {status}");
        }
        for status in ["DELETING", "ARCHIVED", "ARCHIVING", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"] {
            for facts in [table(status), fulfil(table(status))] {
                assert!(matches!(judge(&facts), World::Conflict(_)), "{name} {status}");
            }
        }
    }
}

#[test]
fn a_stream_of_another_view_is_a_conflict() {
    let view = |view: &str| stream(&Facts { stream: Some(view.into()), ..table("ACTIVE") });
    assert!(matches!(view("KEYS_ONLY"), World::Conflict(_)));
    assert!(matches!(view("OLD_IMAGE"), World::Conflict(_)));
    assert!(matches!(view("NEW_IMAGE"), World::Done(_)));
}

#[test]
fn apf2_ttl_in_every_state() {
    let is = |seen: Ttl| ttl("ends", &seen);
    assert!(matches!(is(Ttl::Off), World::NotStarted(_)));
    assert!(matches!(is(Ttl::On("ends".into())), World::Done(_)));
    assert!(matches!(is(Ttl::Enabling("ends".into())), World::InProgress(_)));
    for other in [Ttl::On("other".into()), Ttl::Enabling("other".into()), Ttl::Disabling] {
        assert!(matches!(is(other.clone()), World::Conflict(_)), "{other:?}");
    }
}

#[test]
fn capacity_is_raised_to_a_value_and_never_lowered() {
    let units = |read, write| Units { read, write };
    let index = |read, write| Index { units: units(read, write), ..Index::default() };
    let globals = [("small".to_owned(), index(1, 50)), ("big".to_owned(), index(90, 90))].into();
    let facts = Facts { units: units(5, 40), globals, ..table("ACTIVE") };
    let raised = raise(20, 30, &facts);
    assert_eq!(raised.table, Some(units(20, 40)), "more write units stay");
    assert_eq!(raised.indexes, [("small".to_owned(), units(20, 50))].into());
    // What it becomes needs no raise: sending it twice is the same as once.
    let globals = [("small".to_owned(), index(20, 50)), ("big".to_owned(), index(90, 90))].into();
    let after = Facts { units: units(20, 40), globals, ..table("ACTIVE") };
    assert_eq!(raise(20, 30, &after), Raise::default());
    assert!(matches!(at_least(20, 30, &after), World::Done(_)));
    let only_index = Facts { units: units(20, 40), ..facts };
    assert_eq!(raise(20, 30, &only_index).table, None, "AWS refuses a capacity that does not change");
    assert!(matches!(at_least(20, 30, &only_index), World::NotStarted(_)));
    assert_eq!(raise(0, 0, &only_index), Raise::default(), "0 leaves them");
}
