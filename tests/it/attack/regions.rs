//! A region that hangs, is cut off, or is gone: the state says so, the bound grows, nothing is lost.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use plimsoll_lab::clients::Endpoint;
use plimsoll_lab::daemon::{ConfigSpec, Daemon, Home, Status, StoreSpec, binary};
use plimsoll_lab::regions::{Region, RegionSpec};
use plimsoll_lab::scripted::Door;
use plimsoll_lab::tables::{KeyKind, TableSpec};

use super::fixture::{Ask as _, LONG, Load, ORDERS, PATIENCE, Pair, RHYTHM, bound, came_true, field, note};
use super::truth::Watch;

/// While nothing is proved: the bound, asked twice, grew by the time between.
async fn the_bound_grows(daemon: &Daemon) {
    let first = daemon.now().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = daemon.now().await;
    let passed = second.asked_at.duration_since(first.asked_at).unwrap_or_default().as_secs_f64();
    let grown = bound(&second).expect("a bound") - bound(&first).expect("a bound");
    assert!(grown > 0.5 && grown < passed + 2.0, "{grown} in {passed} s");
    assert!(bound(&second).is_some_and(|bound| bound >= PATIENCE.as_secs_f64()), "{second}");
    assert!(field(&second, "rpo_seconds").is_null(), "{second}");
    assert_eq!(daemon.client().get("/healthz").await.expect("it answers").0, 200, "in any state of the stores");
}

/// I11: unknown within three periods of silence, or 10 s, and not much later.
async fn unknown_in_time(daemon: &mut Daemon, since: SystemTime) -> Status {
    let status = daemon.state("unknown").await;
    let took = status.asked_at.duration_since(since).unwrap_or_default();
    assert!(took < PATIENCE + Duration::from_secs(5), "it took {took:?}");
    status
}

#[tokio::test]
async fn i11_prod_x_hangs_then_is_cut_then_comes_back() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 30, 40, 1);
    daemon.reach(|status| load.written() > 40 && status.state(ORDERS) == "ok").await;
    let shut = SystemTime::now();
    pair.x.set_door(Door::Blackhole);
    let status = unknown_in_time(&mut daemon, shut).await;
    assert!(note(&status).contains("reading prodX"), "{}", note(&status));
    let status = daemon.reach(|status| status.value["primary"]["reachable"] == false).await;
    assert!(status.watermark(ORDERS).is_some_and(|w| w < shut), "{status}");
    the_bound_grows(&daemon).await;
    pair.x.set_door(Door::Cut);
    the_bound_grows(&daemon).await;
    let status = daemon.now().await;
    assert!(status.state(ORDERS) == "unknown" && note(&status).contains("prodX"), "{status}");
    let written = load.written();
    pair.x.set_door(Door::Open);
    daemon.state("ok").await;
    daemon.reach(|status| status.value["primary"]["reachable"] == true).await;
    assert!(load.stop().await > written);
    pair.converge(&daemon).await;
    let seen = watch.truthful().await;
    assert!(seen.states.contains("unknown") && !seen.states.contains("gap"), "{:?}", seen.states);
}

#[tokio::test]
async fn prod_y_hangs_then_is_cut_and_nothing_is_lost() {
    let pair = Pair::new();
    let mut daemon = pair.start_ok().await;
    let watch = Watch::start(&pair, daemon.client());
    let load = Load::start(&pair.x, 30, 40, 2);
    daemon.reach(|status| load.written() > 40 && status.state(ORDERS) == "ok").await;
    let shut = SystemTime::now();
    pair.y.set_door(Door::Blackhole);
    let status = unknown_in_time(&mut daemon, shut).await;
    assert!(note(&status).contains("writing prodY"), "{}", note(&status));
    assert_eq!(status.value["primary"]["reachable"], true, "it is not prodX that hangs");
    the_bound_grows(&daemon).await;
    pair.y.set_door(Door::Cut);
    the_bound_grows(&daemon).await;
    // Killed in the middle of it: what was read and not written is read again.
    daemon.kill9();
    let mut daemon = pair.start().await;
    pair.y.set_door(Door::Open);
    daemon.state("ok").await;
    load.stop().await;
    pair.converge(&daemon).await;
    watch.truthful().await;
}

/// The same against processes of another make: the region is frozen as a process, not by its listener.
#[tokio::test]
async fn an_emulated_prod_x_is_frozen_thawed_and_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut x = Region::start(RegionSpec::primary(folder.path())).await.expect("`make setup` installs it");
    let y = Region::start(RegionSpec::standby(folder.path())).await.expect("`make setup` installs it");
    let table = TableSpec::new(ORDERS, ("pk", KeyKind::Text));
    table.create(&x.dynamodb(), true).await.expect("a table");
    table.create(&y.dynamodb(), false).await.expect("a table");
    let store = StoreSpec { more: RHYTHM.into(), ..StoreSpec::table(ORDERS) };
    let ends: (&Endpoint, &Endpoint) = (x.endpoint(), y.endpoint());
    let spec = ConfigSpec::new(ends.0, ends.1, vec![store]);
    let home = Home::prepare(&folder.path().join("daemon"), &spec).expect("a folder");
    let mut daemon = Daemon::spawn(&binary().expect("built"), &home).expect("it starts");
    daemon.wait_ready(LONG).await.expect("it answers");
    daemon.state("ok").await;
    let client = x.dynamodb();
    let put = async |key: &str| {
        let put = client.put_item().table_name(ORDERS).item("pk", AttributeValue::S(key.into()));
        put.send().await.expect("it takes items");
    };
    let arrived = async |key: &str| {
        let (y, key) = (y.dynamodb(), AttributeValue::S(key.into()));
        let get = || async {
            let got = y.get_item().table_name(ORDERS).key("pk", key.clone()).consistent_read(true).send().await;
            got.is_ok_and(|got| got.item.is_some())
        };
        assert!(came_true(LONG, get).await, "{key:?} never came");
    };
    put("before").await;
    arrived("before").await;
    let frozen = SystemTime::now();
    x.freeze();
    let status = unknown_in_time(&mut daemon, frozen).await;
    assert!(note(&status).contains("reading prodX"), "{}", note(&status));
    the_bound_grows(&daemon).await;
    x.thaw();
    daemon.state("ok").await;
    put("after").await;
    arrived("after").await;
    let killed = SystemTime::now();
    x.kill();
    let status = unknown_in_time(&mut daemon, killed).await;
    assert!(note(&status).contains("reading prodX"), "{}", note(&status));
    assert!(status.watermark(ORDERS).is_some_and(|w| w < killed), "{status}");
    the_bound_grows(&daemon).await;
}
