//! The writers of objects, their ledger and the judge, on scripted regions.

use super::*;
use crate::clients::Endpoint;
use crate::judge;
use crate::ledger::State;
use crate::scripted::Options;
use crate::scripted::s3::Versioning;
use crate::workload::OnSilence;
use std::time::SystemTime;

#[tokio::test]
async fn the_ledger_of_the_writers_is_what_the_bucket_holds() {
    let x = ScriptedAws::start(Options::default()).unwrap();
    x.s3().create("b", Versioning::On);
    x.s3().quirks("b", |quirks| quirks.min_part = 0);
    let endpoint = Endpoint::new(x.endpoint(), "us-east-1");
    let traffic =
        ObjectTraffic { limit: Some(600), multipart: 0.1, part: 2000, ..ObjectTraffic::everything("b", 50_000.0) };
    let mut workload = ObjectWorkload::start(&endpoint, std::slice::from_ref(&traffic), 11, OnSilence::End);
    workload.finish().await.unwrap();
    let there = contents_of(&x, "b");
    assert_eq!(there, contents(&crate::clients::s3(&endpoint), "b").await.unwrap(), "read either way");
    let history = traffic.ledger.clone();
    assert!(history.committed() >= 600);
    let judged =
        |standby: &Contents| history.read(|history| judge::judge_watermark(history, standby, SystemTime::now()).len());
    assert_eq!(judged(&there), 0);
    assert!(history.read(|history| judge::invented(history, &there)).is_empty());
    assert_eq!(judged(&Contents::new()), there.len(), "an empty standby lacks them all");
    let events: std::collections::BTreeSet<_> = x.s3().history("b").iter().map(|change| change.event).collect();
    for event in ["Created:Put", "Created:Copy", "Upload", "Tagging:Put", "MarkerCreated"] {
        assert!(events.iter().any(|name| name.ends_with(event)), "{event} is not in {events:?}");
    }
    // The server's own history says the same as the ledger.
    let last: Contents =
        x.s3().as_of("b", SystemTime::now()).iter().map(|(n, o)| (key(n), Form::from(&**o).digest())).collect();
    assert_eq!(last, there);
    let state = |name: &Key| history.read(|history| history.of(name).last().map(|change| change.state));
    assert!(there.iter().all(|(name, digest)| state(name) == Some(State::Item(*digest))));
}
