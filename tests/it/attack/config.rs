//! A configuration that is wrong in many places: `run` says all of it and exits 78, and nothing else happens.

use std::time::Duration;

use plimsoll_lab::daemon::Daemon;

use super::fixture::{ORDERS, Pair};

#[tokio::test]
async fn run_names_every_problem_and_exits_78() {
    let pair = Pair::with(super::fixture::streamed(), super::fixture::plain(), 1, |spec| {
        let mut twin = spec.stores[0].clone();
        twin.more = "poll_min = \"5s\"\npoll_max = 3\nunheard_of = true".into();
        spec.stores.push(twin);
        spec.more = "[promote]\ncatch_up = \"soon\"".into();
    });
    let mut daemon: Daemon = pair.spawn();
    let status = daemon.wait(Duration::from_secs(60)).await.expect("it ends by itself");
    let said = daemon.tail(50);
    assert_eq!(status.code(), Some(78), "{said}");
    for part in ["unheard_of", "poll_max", "catch_up", ORDERS] {
        assert!(said.contains(part), "{part} is not named in:\n{said}");
    }
    assert!(said.matches("error").count() >= 4, "all of them at once:\n{said}");
    assert!(!pair.home.index().exists(), "an index is not made for it");
    assert_eq!((pair.x.all_calls().len(), pair.y.all_calls().len()), (0, 0), "nobody was called");
}
